import { located } from '../../errors';
import { binding } from '../../native/binding';
import { finish, threadsFor } from '../../native/jobs';
import { sharedBytes } from '../../native/shared';
import { convert } from '../../native/tensors';
import { describe } from '../../options/messages';
import type { FloatArray, JobOptions, TensorLike } from '../../types';
import type { Feeds } from '../types';
import type { Asked } from './asked';
import type { Question } from './question';
import { rowSquares } from './row-squares';

/** How many answers are drawn for each row of an output: signs, and classes where these are few; of the tokens of a vocabulary one. */
const draws = { signs: 4, classes: 8, tokens: 1 };
const fewClasses = 256;
export const mostDraws = Math.max(...Object.values(draws));

/** Draws answers of a network, row by row of its outputs, and gives the cotangents that tell of them. */
export class Answers implements Question {
  /** Rows of each value so far, by draw: the place of the next. */
  private readonly rows = new Map<string, number>();
  /** Tokens of batches of a language model that others run, and that come before. */
  private elsewhere = 0;
  private next = 0;

  constructor(
    private readonly feeds: readonly Feeds[],
    private readonly options: JobOptions,
    private readonly isOwn?: (batch: number) => boolean,
  ) {}

  readonly taken = rowSquares;

  drawsOf({ kind }: Asked, { dims }: TensorLike): number {
    if (kind === 'signs') return draws.signs;
    return (dims.at(-1) ?? 1) <= fewClasses ? draws.classes : draws.tokens;
  }

  /** To be called for one batch after the other: what is drawn for it does not depend on who has drawn for those before. */
  begin(batch: number): void {
    for (; this.next < batch; this.next++)
      if (this.isOwn?.(this.next) === false)
        this.elsewhere += this.feeds[this.next]!['input_ids']!.dims.reduce((size, dim) => size * dim, 1);
  }

  /** To be called for one output after the other, in one order. */
  async cotangents(asked: Asked, output: TensorLike, draw: number, batch: number): Promise<TensorLike> {
    try {
      return await this.drawn(asked, output, draw, batch);
    } catch (error) {
      throw located(`the output ${describe(asked.value)} of the float network`, error);
    }
  }

  private async drawn(
    { value, kind }: Asked,
    output: TensorLike,
    draw: number,
    batch: number,
  ): Promise<TensorLike> {
    const { signal } = this.options;
    const type = output.type ?? 'float32';
    const values =
      type === 'float32'
        ? (output.data as Float32Array)
        : (await convert(output.data as Uint16Array, type === 'float64' ? 'F64' : 'F16', 'F32', signal)).data;
    const size = output.dims.at(-1) ?? 1;
    const rows = size === 0 ? 0 : values.length / size;
    const key = `${value} ${draw}`;
    const first = this.rows.get(key) ?? 0;
    this.rows.set(key, first + rows);
    const cotangents = new Float32Array(sharedBytes(4 * values.length).buffer);
    const given = {
      kind,
      rows,
      size,
      first: this.elsewhere + first,
      seed: draw,
      threads: threadsFor(this.options),
      values,
      cotangents,
    };
    if (rows > 0) await finish(() => binding().drawOutputs(given), signal);
    mask(cotangents, output.dims, this.feeds[batch]!);
    const own = { dims: output.dims, type };
    if (type === 'float32') return { ...own, data: cotangents.slice() };
    if (type === 'float64') return { ...own, data: Float64Array.from(cotangents) };
    return { ...own, data: (await convert(cotangents, 'F32', 'F16', signal)).data as Uint16Array };
  }

  /** How many rows a value has had. */
  rowsOf(value: string): number {
    return this.rows.get(`${value} 0`) ?? 0;
  }
}

/** Nobody asks what a network gives at padding. */
export function mask(cotangents: FloatArray | Uint16Array, dims: readonly number[], feeds: Feeds): void {
  const given = feeds['attention_mask'];
  if (!given || given.dims.length !== 2 || given.dims.some((dim, i) => dim !== dims[i]) || dims.length < 3)
    return;
  const flags = given.data as BigInt64Array;
  const size = cotangents.length / Math.max(1, flags.length);
  for (const [i, flag] of flags.entries())
    if (Number(flag) === 0) cotangents.fill(0, i * size, (i + 1) * size);
}
