import { openCheckpoint } from '../../containers/safetensors/checkpoint';
import { isFloat } from '../../containers/safetensors/dtypes';
import { blockError, unpacked } from '../../encodings/gguf/blocks';
import { type GgufType, ggufTypes } from '../../encodings/gguf/table';
import type { GgufTypeName } from '../../encodings/names';
import { locatedMemory, VertexqError } from '../../errors';
import { relativeError } from '../../relative-error';
import type { NativeFloat } from '../../native/binding';
import { describe } from '../../options/messages';
import type { JobOptions } from '../../types';
import { identityOf } from '../model-identity';
import type { Verification, VerifiedWeight } from '../types';
import { modelOfFolder } from './model';
import { isGgufPath, OpenGguf, ownKeys } from './open';
import type { GgufModel, GgufTensor } from './tensor';
import { converted, type Rows } from './rows';

/** Bytes of values that are read back at a time. */
const pieceBytes = 2 ** 24;

/** What a GGUF file was made of: its tensors as such a file has them, and the file where it is one. */
interface Original {
  model: GgufModel;
  opened: OpenGguf | null;
}

/** As `verifyCheckpoint`, of a GGUF file; the original is one too, or a folder. */
export async function verifyGguf(
  quantized: string,
  original: string | undefined,
  options: JobOptions,
): Promise<Verification> {
  const opened = await OpenGguf.open(quantized, options.signal);
  try {
    if (original === undefined) return await new GgufVerifier(opened, null, options).run();
    return await withOriginal(original, options, (other) => new GgufVerifier(opened, other, options).run());
  } finally {
    await opened.file.close();
  }
}

async function withOriginal<Result>(
  path: string,
  { signal }: JobOptions,
  use: (original: Original) => Promise<Result>,
): Promise<Result> {
  if (isGgufPath(path)) {
    const opened = await OpenGguf.open(path, signal);
    try {
      return await use({ model: opened.model, opened });
    } finally {
      await opened.file.close();
    }
  }
  const checkpoint = await openCheckpoint(path, signal);
  try {
    return await use({ model: await modelOfFolder(checkpoint, await identityOf(checkpoint)), opened: null });
  } finally {
    await checkpoint.close();
  }
}

class GgufVerifier {
  private readonly weights: VerifiedWeight[] = [];
  private readonly faults: string[] = [];
  private readonly identical = { tensors: 0, bytes: 0 };
  private readonly total: number;
  private done = 0;

  constructor(
    private readonly opened: OpenGguf,
    private readonly original: Original | null,
    private readonly options: JobOptions,
  ) {
    this.total = opened.model.tensors.reduce((sum, { rows }) => sum + rows.rows, 0);
  }

  async run(): Promise<Verification> {
    const started = performance.now();
    const { model } = this.opened;
    const { original, weights, faults, identical } = this;
    if (!original && !model.tensors.some(typeOf))
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${model.input} has no tensors in few bits that are read here: give the original too, to compare values`,
      );
    const before = new Map(original?.model.tensors.map((tensor) => [tensor.name, tensor]));
    for (const tensor of model.tensors) {
      await this.tensor(tensor, original && (before.get(tensor.name) ?? null)).catch((error: unknown) => {
        throw locatedMemory(`${model.input}: tensor ${describe(tensor.name)}`, error);
      });
      before.delete(tensor.name);
    }
    for (const name of before.keys()) this.fault(name, 'is in the original alone');
    this.keys();
    return {
      ...{
        quantized: model.input,
        original: original?.model.input ?? null,
        weights,
        identical,
        faults,
        notCompared: [],
        manifest: null,
      },
      seconds: (performance.now() - started) / 1000,
    };
  }

  private async tensor(tensor: GgufTensor, before: GgufTensor | null): Promise<void> {
    const { name, shape } = tensor;
    let other = before;
    if (this.original && !before) this.fault(name, 'is not in the original');
    if (before && before.shape.join() !== shape.join()) {
      this.fault(name, `is [${shape.join(', ')}], and [${before.shape.join(', ')}] in the original`);
      other = null;
    }
    const raw = tensor.raw!;
    if (other && (await this.isIdentical(raw, other))) {
      this.identical.tensors++;
      this.identical.bytes += raw.rows * raw.rowBytes;
      return;
    }
    const type = typeOf(tensor);
    if (type) return this.weight(tensor, type, other);
    this.step(raw.rows, name);
    if (other) this.fault(name, isFloat(raw.dtype) ? 'differs from the original' : `is ${raw.dtype}, which is not read here`); // prettier-ignore
  }

  /** Whether a tensor has the bytes that the original has, in the type that is written. */
  private async isIdentical(raw: Rows, other: GgufTensor): Promise<boolean> {
    const { dtype } = raw;
    const own = other.raw ?? other.rows;
    const same = own.dtype === dtype;
    if (!same && !(isFloat(dtype) && dtype !== 'F64' && isFloat(other.rows.dtype))) return false;
    const from = same ? own : converted(other.rows, `tensor ${describe(other.name)}`, dtype as 'F32');
    if (from.rows * from.rowBytes !== raw.rows * raw.rowBytes) return false;
    // A vector's entries may be rows of their own.
    const parts = from.rows === raw.rows ? pieces(raw.rows, raw.rowBytes) : [[0, raw.rows] as const];
    for (const [begin, end] of parts) {
      this.options.signal?.throwIfAborted();
      const last = end === raw.rows ? from.rows : end;
      const [a, b] = await Promise.all([raw.read(begin, end), from.read(begin, last)]);
      if (Buffer.compare(a, b) !== 0) return false;
    }
    this.step(raw.rows, other.name);
    return true;
  }

  /** Unpacks a weight, next to the original where there is one. */
  private async weight(
    { name, raw, shape }: GgufTensor,
    type: GgufType,
    other: GgufTensor | null,
  ): Promise<void> {
    const { rows, rowBytes } = raw!;
    const cols = shape.at(-1)!;
    const { bits, groupSize } = type.settings;
    const told = { name, shape: [rows, cols] as const, bits, groupSize, bytes: rows * rowBytes };
    const reference = other && isFloat(other.rows.dtype) ? other.rows : null;
    if (other && !reference)
      this.fault(name, `is ${other.rows.dtype} in the original, which is not read here`);
    const sums = { error: 0, signal: 0 };
    try {
      for (const [begin, end] of pieces(rows, 4 * cols)) {
        this.options.signal?.throwIfAborted();
        const blocks = await raw!.read(begin, end);
        const size = [end - begin, cols] as const;
        if (reference) {
          const data = await reference.read(begin, end);
          const from = { data, type: reference.dtype as NativeFloat, firstRow: begin };
          const { error, signal } = await blockError(type, blocks, size, from, this.options);
          sums.error += error;
          sums.signal += signal;
        } else await unpacked(type, blocks, size, this.options, begin);
        this.step(end - begin, name);
      }
    } catch (error) {
      this.options.signal?.throwIfAborted();
      if ((error as VertexqError).code !== 'ERR_VERTEXQ_NOT_FINITE') throw error;
      this.fault(name, `cannot be read back: ${(error as Error).message}`);
      this.weights.push({ ...told, error: null });
      return;
    }
    const error = reference ? relativeError(sums) : null;
    if (error !== null && !(error < 1)) this.fault(name, 'is farther from the original than zeros would be');
    this.weights.push({ ...told, error });
  }

  /** What tells of the network and the tokenizer is the original file's own. */
  private keys(): void {
    const before = this.original?.opened?.file;
    const { file } = this.opened;
    for (const key of before?.header.places.keys() ?? []) {
      if (ownKeys.test(key) || key.startsWith('general.')) continue;
      const isThere = file.header.places.has(key);
      if (isThere && Buffer.compare(file.keyBytes(key), before!.keyBytes(key)) === 0) continue;
      this.faults.push(
        `key ${describe(key)} ${isThere ? 'differs from the original' : 'is in the original alone'}`,
      );
    }
  }

  private fault(name: string, what: string): void {
    this.faults.push(`tensor ${describe(name)} ${what}`);
  }

  private step(rows: number, layer: string): void {
    this.done += rows;
    this.options.onProgress?.({ stage: 'verify', done: this.done, total: this.total, layer });
  }
}

const typeOf = ({ raw }: GgufTensor): GgufType | undefined =>
  Object.hasOwn(ggufTypes, raw!.dtype) ? ggufTypes[raw!.dtype as GgufTypeName] : undefined;

/** Ranges of rows of so many bytes each. */
function* pieces(rows: number, rowBytes: number): Generator<[begin: number, end: number]> {
  const step = Math.max(1, Math.floor(pieceBytes / Math.max(1, rowBytes)));
  for (let begin = 0; begin < rows; begin += step) yield [begin, Math.min(rows, begin + step)];
}
