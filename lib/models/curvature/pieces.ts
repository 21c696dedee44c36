import type { TensorLike } from '../../types';
import type { GraphStage } from '../forward/stages';
import type { Feeds } from '../types';

/** Of a language model: what the head takes, token by token, and how many logits it makes of each. */
export interface Head {
  from: string;
  vocabulary: number;
}

/** Bytes of logits that are there at once. */
const logitBytes = 2 ** 25;

/** A head's tokens do not depend on each other: of a large vocabulary only some are there at once. */
export function piecesOf(head: Head | undefined, { inputs }: GraphStage, values: Feeds): Feeds[] {
  if (!head || inputs.length !== 1 || inputs[0] !== head.from) return [values];
  const { data, dims, type } = values[head.from]!;
  const size = dims.at(-1)!;
  const rows = dims.slice(0, -1).reduce((product, dim) => product * dim, 1);
  const step = Math.max(1, Math.floor(logitBytes / (4 * head.vocabulary)));
  const pieces: Feeds[] = [];
  for (let begin = 0; begin < rows; begin += step) {
    const end = Math.min(rows, begin + step);
    const own = (data as Float32Array).subarray(begin * size, end * size);
    pieces.push({ [head.from]: { data: own, dims: [1, end - begin, size], ...(type && { type }) } });
  }
  return pieces;
}

/** Tensors one behind the other, of these dimensions in all. */
export function joined(parts: readonly TensorLike[], dims?: readonly number[]): TensorLike {
  const [first] = parts;
  if (parts.length === 1) return dims ? { data: first!.data, dims, type: first!.type! } : first!;
  const all = parts.map(({ data }) => data as Float32Array);
  const data = new Float32Array(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of all) {
    data.set(part, at);
    at += part.length;
  }
  return { data, dims: dims ?? [data.length], type: first!.type! };
}
