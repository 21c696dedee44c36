import { atOnce } from '../at-once';
import { GgufFile } from '../containers/gguf/file';
import { type Checkpoint, entryOf, openCheckpoint } from '../containers/safetensors/checkpoint';
import { elementsOf, floatBytes, type FloatDtype, isFloat } from '../containers/safetensors/dtypes';
import type { TensorEntry } from '../containers/tensor-file';
import type { Matrix } from '../encodings/safetensors/matrices';
import { type PackedWeight, plainWeight, Unpacker } from '../encodings/safetensors/unpack';
import { namingMemory, VertexqError } from '../errors';
import { Buffers, giveBack } from '../native/buffers';
import type { Norms } from '../native/binding';
import { type Shared, sharedBytes } from '../native/shared';
import { relativeError } from '../relative-error';
import { checkpointPath, describe, requirePath } from '../options/messages';
import { checkOptions } from '../options/table';
import type { JobOptions } from '../types';
import { checkChecksum, checksumKey, type SumCheck } from '../runs/own-checksum';
import { Turns } from '../yielding';
import { isGgufPath, OpenGguf } from './gguf/open';
import { verifyGguf } from './gguf/verify';
import { identityOf } from './model-identity';
import { checkManifest } from './output-manifest';
import { packedWeights, quantizationConfig } from './packed-weights';
import { readWeight, turned } from './transposed';
import type { Verification, VerifiedWeight } from './types';

/** Bytes of values that are read back at a time. */
const pieceBytes = 2 ** 24;
/** Some are read while others are computed with. */
const tensorsAtOnce = 3;

/**
 * Reads a quantized checkpoint back as loaders do, and compares it with the float one that it was made of: every weight in few bits is
 * unpacked, every other tensor must be the original's. Without an original, weights are read and must be finite. Both are safetensors files,
 * folders of them or GGUF files. What is wrong is told in `faults`.
 *
 * Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_SAFETENSORS or ERR_VERTEXQ_GGUF where one cannot be read, ERR_VERTEXQ_UNSUPPORTED where the first holds no weight that
 * could be read back; TypeError and RangeError for arguments; with the signal's reason.
 */
export async function verifyCheckpoint(
  quantized: string,
  original?: string,
  options: JobOptions = {},
): Promise<Verification> {
  requirePath('quantized checkpoint', quantized, checkpointPath);
  if (original !== undefined) requirePath('original', original, checkpointPath);
  checkOptions('verifyCheckpoint', options);
  return namingMemory(quantized, async () => {
    const found = await verifyValues(quantized, original, options);
    const check = await checkSums(quantized, options.signal);
    if (!check) return found;
    const { faults, ...manifest } = check;
    return { ...found, manifest, faults: [...found.faults, ...faults] };
  });
}

/** Compares a folder with its manifest, files with the checksum that they say. */
async function checkSums(quantized: string, signal: AbortSignal | undefined): Promise<SumCheck | null> {
  if (isGgufPath(quantized)) {
    const { paths, header } = await GgufFile.with(quantized, (file) => Promise.resolve(file), { signal });
    const told = header.metadata.get(checksumKey);
    return checkChecksum(paths, typeof told === 'string' ? told : undefined, signal);
  }
  const checkpoint = await openCheckpoint(quantized, signal);
  await checkpoint.close();
  if (checkpoint.folder !== null) return checkManifest(quantized, signal);
  const [shard] = checkpoint.shards.values();
  return checkChecksum([quantized], shard!.metadata.get(checksumKey), signal);
}

/** The same, but for the manifest: of an output that was just made. */
export async function verifyValues(
  quantized: string,
  original: string | undefined,
  options: JobOptions,
): Promise<Verification> {
  if (isGgufPath(quantized)) return verifyGguf(quantized, original, options);
  const checkpoint = await openCheckpoint(quantized, options.signal);
  try {
    if (original === undefined) return await new Verifier(checkpoint, null, options).run();
    const gguf = isGgufPath(original) ? await OpenGguf.open(original, options.signal) : null;
    const other = gguf ? null : await openCheckpoint(original, options.signal);
    try {
      return await new Verifier(checkpoint, other ?? (await gguf!.network()).checkpoint, options).run();
    } finally {
      await other?.close();
      await gguf?.file.close();
    }
  } finally {
    await checkpoint.close();
  }
}

/** What is found out of a weight or a tensor. */
interface Outcome {
  weight?: VerifiedWeight;
  faults: string[];
  /** Bytes that are the original's own. */
  identical?: number;
}

class Verifier {
  private readonly turns: Turns;
  private readonly buffers = new Buffers();
  /** What a weight of few bits was made of, where it is no tensor of its own that lies as usual; by names. */
  private readonly matrices = new Map<string, Matrix & { tensor: string }>();
  private done = 0;
  private total = 0;

  constructor(
    private readonly checkpoint: Checkpoint,
    private readonly original: Checkpoint | null,
    private readonly options: JobOptions,
  ) {
    this.turns = new Turns(options.signal);
  }

  async run(): Promise<Verification> {
    const started = performance.now();
    const { checkpoint, original } = this;
    for (const shard of checkpoint.shards.values()) this.total += shard.size;
    const config = quantizationConfig(checkpoint, await identityOf(checkpoint));
    const found = config ? await packedWeights(checkpoint, config) : [];
    if (found.length === 0 && !original)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${checkpoint.input} has no weights in few bits whose format is known: give the original too, to compare values`,
      );
    if (original && found.length > 0) await this.findMatrices(original);
    const claimed = new Set<string>();
    const tasks: (() => Promise<Outcome>)[] = [];
    for (const { inspected, packed } of found) {
      for (const name of packed.tensors) claimed.add(name);
      const weight = `${inspected.name}.weight`;
      claimed.add(this.matrices.get(weight)?.tensor ?? weight);
      const { shape, bits, groupSize, bytes } = inspected;
      tasks.push(() => this.weight({ name: inspected.name, shape, bits, groupSize, bytes }, packed));
    }
    for (const [name, shard] of checkpoint.places)
      if (!claimed.has(name)) tasks.push(() => this.tensor(name, checkpoint.shards.get(shard)!.tensor(name)));
    const outcomes: Outcome[] = [];
    await atOnce(tasks, tensorsAtOnce, async (task, i) => {
      outcomes[i] = await task();
    });
    for (const name of original?.places.keys() ?? [])
      if (!claimed.has(name) && !checkpoint.places.has(name))
        outcomes.push({ faults: [fault(name, 'is in the original alone')] });
    const same = outcomes.flatMap(({ identical }) => identical ?? []);
    return {
      quantized: checkpoint.input,
      original: original?.input ?? null,
      weights: outcomes.flatMap(({ weight }) => weight ?? []),
      identical: { tensors: same.length, bytes: same.reduce((sum, bytes) => sum + bytes, 0) },
      faults: outcomes.flatMap(({ faults }) => faults),
      notCompared: [],
      manifest: null,
      seconds: (performance.now() - started) / 1000,
    };
  }

  private async findMatrices(original: Checkpoint): Promise<void> {
    const { matricesIn } = await identityOf(original);
    for (const { tensors } of original.shards.values())
      for (const [tensor, entry] of tensors) {
        if (this.turns.due) await this.turns.next();
        for (const matrix of matricesIn(tensor, entry))
          if (matrix.name !== tensor || matrix.stride > 0)
            this.matrices.set(matrix.name, { ...matrix, tensor });
      }
  }

  /** Unpacks a weight, next to the original where there is one. */
  private async weight(weight: Omit<VerifiedWeight, 'error'>, packed: PackedWeight): Promise<Outcome> {
    const { shape } = weight;
    const name = weight.bits === null ? weight.name : `${weight.name}.weight`;
    const before = this.original && (this.matrices.get(name) ?? entryOf(this.original, name));
    const fits =
      before && isFloat(before.dtype) && (weight.bits === null || before.shape.join() === shape.join());
    const faults: string[] = [];
    if (this.original && !fits)
      faults.push(fault(name, before ? `is ${told(before)} in the original` : 'is not in the original'));
    const reference = fits ? before : null;
    const unpacker = new Unpacker(this.checkpoint, packed, this.buffers);
    const sums: Norms = { error: 0, signal: 0 };
    try {
      const step = unpacker.rowsIn(pieceBytes);
      for (let begin = 0; begin < shape[0]; begin += step) {
        this.options.signal?.throwIfAborted();
        const end = Math.min(shape[0], begin + step);
        const rows = reference && (await this.rowsOf(name, begin, end));
        const wanted = rows ? { reference: rows, type: reference.dtype as 'F32' } : {};
        const { error, signal } = await unpacker.rows(begin, end, wanted, this.options);
        // Only here: of a job that was aborted, a thread may still be reading it.
        if (rows) giveBack(rows);
        sums.error += error;
        sums.signal += signal;
        this.progress(((end - begin) / shape[0]) * weight.bytes, weight.name);
      }
    } catch (error) {
      this.options.signal?.throwIfAborted();
      if (!(error instanceof RangeError) && (error as VertexqError).code !== 'ERR_VERTEXQ_NOT_FINITE')
        throw error;
      faults.push(fault(name, `cannot be read back: ${(error as Error).message}`));
      return { weight: { ...weight, error: null }, faults };
    }
    const error = reference ? relativeError(sums) : null;
    // Not so of NaN and infinity in the original, either.
    if (error !== null && !(error < 1))
      faults.push(fault(name, 'is farther from the original than zeros would be'));
    return { weight: { ...weight, error }, faults };
  }

  /** Rows of the original of a weight. */
  private async rowsOf(name: string, begin: number, end: number): Promise<Shared> {
    const matrix = this.matrices.get(name);
    if (!matrix)
      return shardOf(this.original!, name).readShared(name, begin, end, (length) =>
        this.buffers.take(length),
      );
    const { tensor, shape, stride, position } = matrix;
    const dtype = matrix.dtype as FloatDtype;
    const rowBytes = shape[1] * floatBytes[dtype];
    const file = shardOf(this.original!, tensor);
    // All of one that lies transposed: it is turned as a whole.
    const [from, rows] = stride > 0 ? [0, shape[0]] : [begin, end - begin];
    const bytes = sharedBytes(rows * rowBytes);
    await readWeight(
      file,
      { dtype, shape: [rows, shape[1]], stride, position: position + from * rowBytes },
      bytes,
    );
    if (stride === 0) return bytes;
    return (await turned(bytes, dtype, shape[1], rows, this.options.signal)).subarray(
      begin * rowBytes,
      end * rowBytes,
    );
  }

  /** A tensor that is in no weight of few bits: the original's own, or its values on a grid. */
  private async tensor(name: string, entry: TensorEntry): Promise<Outcome> {
    const { original } = this;
    const before = original && entryOf(original, name);
    if (!original || !before || told(before) !== told(entry)) {
      this.progress(entry.byteLength, name);
      if (!original) return { faults: [] };
      return {
        faults: [fault(name, before ? `is ${told(before)} in the original` : 'is not in the original')],
      };
    }
    const where = `${shardOf(this.checkpoint, name).path}: tensor ${describe(name)}`;
    if (await namingMemory(where, () => this.isIdentical(name, entry, before)))
      return { faults: [], identical: entry.byteLength };
    const { dtype, byteLength: bytes } = entry;
    if (entry.shape.length < 2 || entry.shape.length > 3 || !isFloat(dtype))
      return { faults: [fault(name, 'differs from the original')] };
    const cols = entry.shape.at(-1)!;
    const shape = [elementsOf(entry.shape) / cols, cols] as const;
    return this.weight({ name, shape, bits: null, groupSize: null, bytes }, plainWeight(name, dtype, shape));
  }

  private async isIdentical(name: string, entry: TensorEntry, before: TensorEntry): Promise<boolean> {
    const [here, there] = [shardOf(this.checkpoint, name), shardOf(this.original!, name)];
    const room = Math.min(pieceBytes, entry.byteLength);
    const [a, b] = [this.buffers.take(room), this.buffers.take(room)];
    for (let at = 0; at < entry.byteLength; at += pieceBytes) {
      this.options.signal?.throwIfAborted();
      if (this.turns.due) await this.turns.next();
      const length = Math.min(pieceBytes, entry.byteLength - at);
      await Promise.all([
        here.fill(a.subarray(0, length), entry.position + at),
        there.fill(b.subarray(0, length), before.position + at),
      ]);
      if (Buffer.compare(a.subarray(0, length), b.subarray(0, length)) !== 0) return false;
      this.progress(length, name);
    }
    this.buffers.give(a);
    this.buffers.give(b);
    return true;
  }

  private progress(bytes: number, layer: string): void {
    this.done += bytes;
    this.options.onProgress?.({ stage: 'verify', done: this.done, total: this.total, unit: 'bytes', layer });
  }
}

const fault = (name: string, what: string) => `tensor ${describe(name)} ${what}`;
const told = ({ dtype, shape }: Pick<TensorEntry, 'dtype' | 'shape'>) => `${dtype} [${shape.join(', ')}]`;

const shardOf = ({ shards, places }: Checkpoint, name: string) => shards.get(places.get(name)!)!;
