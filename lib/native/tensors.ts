import { outOfMemory } from '../errors';
import type { QuantizedLayer } from '../types';
import { binding, type NativeFloat, type NativeJob, type NativeNumber } from './binding';
import { Turns } from '../yielding';
import { calling, finish, threadsFor } from './jobs';
import { takeLike } from './buffers';
import { isShared, sharedBytes } from './shared';

// Whole tensors to other types and orders, natively. What lies in shared memory is worked on by jobs, and what they make does too. Any other
// memory could be taken away from a job, and copying it takes as long as the work: that is done in parts, between which the event loop
// goes on.

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | BigUint64Array;

/** Arrays for numbers that are converted. JavaScript has none for the halves: they are kept as their bits. */
const arrays = {
  F64: Float64Array,
  F32: Float32Array,
  F16: Uint16Array,
  BF16: Uint16Array,
  I64: BigInt64Array,
} as const;

export type ConvertedType = NativeFloat | 'I64';
type ArrayOf<To extends ConvertedType> = InstanceType<(typeof arrays)[To]>;

const kindFor = <To extends ConvertedType>(to: To) => arrays[to] as unknown as ArrayKind<ArrayOf<To>>;

/** Bytes of a number of each type. */
export const numberBytes: Readonly<Record<NativeNumber, number>> = {
  ...{ F64: 8, F32: 4, F16: 2, BF16: 2 },
  ...{ I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1 },
};

/** Bytes up to which a job costs more than it saves. */
const small = 2 ** 16;
/** Bytes of a part: about a millisecond. */
const part = 2 ** 20;

interface Converted<To extends ConvertedType> {
  data: ArrayOf<To>;
  /** Whether all of it is: numbers beyond the type have become infinite. */
  finite: boolean;
}

/**
 * The numbers of a type in `values`, whatever kind of array that is, as the nearest ones of another, ties to even. From any type to
 * floats of 64 and 32 bits, from floats to those of 16, from integers to I64. Rejects with the signal's reason; ERR_VERTEXQ_MEMORY.
 */
export async function convert<To extends ConvertedType>(
  values: ArrayBufferView,
  from: NativeNumber,
  to: To,
  signal?: AbortSignal,
): Promise<Converted<To>> {
  const count = Math.floor(values.byteLength / numberBytes[from]);
  const output = roomLike(values, kindFor(to), count);
  let finite = true;
  const entry = binding().convert;
  if (isShared(values) && output.byteLength > small)
    finite = await job(() => entry({ input: values, output, from, to, count, ...manyThreads() }), signal);
  else
    await inTurns(count, part / 8, signal, (begin, end) => {
      const input = bytesOf(values, begin * numberBytes[from], end * numberBytes[from]);
      const own = { input, output: output.subarray(begin, end), from, to, count: end - begin };
      finite = now(() => entry({ ...own, ...atOnce })) && finite;
    });
  return { data: output, finite };
}

/** The same at once: for a few numbers. */
export function convertNow<To extends ConvertedType>(
  values: ArrayBufferView,
  from: NativeNumber,
  to: To,
): ArrayOf<To> {
  const count = Math.floor(values.byteLength / numberBytes[from]);
  const output = new (kindFor(to))(count);
  now(() => binding().convert({ input: values, output, from, to, count, ...atOnce }));
  return output;
}

/**
 * A row-major tensor with its dimensions in another order: dimension i of the result is `dims[order[i]]`. The same array where that
 * moves nothing. Rejects with the signal's reason; ERR_VERTEXQ_MEMORY.
 */
export async function permuted<Values extends TypedArray>(
  values: Values,
  dims: readonly number[],
  order: readonly number[],
  signal?: AbortSignal,
): Promise<Values> {
  const moved = order.filter((axis) => dims[axis] !== 1);
  if (values.length === 0 || moved.every((axis, i) => i === 0 || axis > moved[i - 1]!)) return values;
  const output = roomLike(values, values.constructor as ArrayKind<Values>, values.length);
  const given = { input: values, output, elementSize: values.BYTES_PER_ELEMENT, dims, order };
  const entry = binding().permute;
  if (isShared(values) && output.byteLength > small) {
    await job(() => entry({ ...given, first: 0, last: maxPieces, ...manyThreads() }), signal);
    return output;
  }
  const turns = new Turns(signal);
  for (let first = 0, pieces = 1; first < pieces; first += piecesAtOnce) {
    if (turns.due) await turns.next();
    pieces = now(() => entry({ ...given, first, last: first + piecesAtOnce, ...atOnce }));
  }
  return output;
}

/** Of a permutation; a part of the work has so many. */
const maxPieces = 2 ** 53;
const piecesAtOnce = 4;

/** The transpose of a row-major rows × cols matrix. Rejects as `permuted`. */
export function transposed<Values extends TypedArray>(
  values: Values,
  rows: number,
  cols: number,
  signal?: AbortSignal,
): Promise<Values> {
  return permuted(values, [rows, cols], [1, 0], signal);
}

/** What of a quantized layer makes its values. */
export type Coded = Pick<
  QuantizedLayer,
  'codes' | 'scales' | 'zeroPoints' | 'groupSize' | 'outFeatures' | 'inFeatures'
> &
  Partial<Pick<QuantizedLayer, 'minima' | 'table'>>;

/** A layer's values, [outFeatures, inFeatures], as `QuantizedLayer` tells them, computed in float64 and rounded once. Rejects as `permuted`. */
export async function valuesOf(layer: Coded, signal?: AbortSignal): Promise<Float32Array> {
  const { outFeatures, inFeatures } = layer;
  const output = roomLike(layer.codes, Float32Array, outFeatures * inFeatures);
  const entry = binding().dequantize;
  if (isShared(layer.codes) && output.byteLength > small)
    await job(() => entry({ ...codesOf(layer), ...unevenOf(layer), output, ...manyThreads() }), signal);
  else
    await inTurns(outFeatures, part / (4 * inFeatures), signal, (begin, end) => {
      const own = output.subarray(begin * inFeatures, end * inFeatures);
      const rows = rowsOf(layer, begin, end);
      now(() => entry({ ...codesOf(rows), ...unevenOf(rows), output: own, ...atOnce }));
    });
  return output;
}

/** The same at once, in memory of its own. */
export function valuesNow(layer: Coded): Float32Array {
  const output = new Float32Array(layer.outFeatures * layer.inFeatures);
  now(() => binding().dequantize({ ...codesOf(layer), ...unevenOf(layer), output, ...atOnce }));
  return output;
}

/** Some of a layer's neurons. */
function rowsOf(layer: Coded, begin: number, end: number): Coded {
  const groups = Math.ceil(layer.inFeatures / layer.groupSize);
  return {
    ...layer,
    codes: layer.codes.subarray(begin * layer.inFeatures, end * layer.inFeatures),
    scales: layer.scales.subarray(begin * groups, end * groups),
    zeroPoints: layer.zeroPoints && layer.zeroPoints.subarray(begin * groups, end * groups),
    minima: layer.minima?.subarray(begin * groups, end * groups) ?? null,
    outFeatures: end - begin,
  };
}

function unevenOf({ minima = null, table }: Coded) {
  const levels = table ? new Float32Array(256) : null;
  levels?.set(table!, 128);
  return { minima, table: levels };
}

function codesOf({ codes, scales, zeroPoints, groupSize, outFeatures, inFeatures }: Coded) {
  return {
    ...{ input: codes, stepValues: scales, zeroValues: zeroPoints, rows: outFeatures, cols: inFeatures },
    groupSize: Math.min(groupSize, inFeatures),
  };
}

/** Blocks of codes as `packBlocks` of the addon makes them, and what they are to be. */
export interface Blocks {
  blockSize: number;
  bits: number;
  offset: number;
  doubled: boolean;
  hasZeroPoints: boolean;
}

export interface PackedBlocks {
  codes: Uint8Array;
  scales: Float32Array;
  zeroPoints: Uint8Array | null;
}

/** Packs codes into blocks. Rejects as `permuted`. */
export async function packBlocks(layer: Coded, to: Blocks, signal?: AbortSignal): Promise<PackedBlocks> {
  const { blockSize, bits, offset, doubled, hasZeroPoints } = to;
  const { outFeatures, inFeatures } = layer;
  const blocks = Math.ceil(inFeatures / blockSize);
  const [rowBytes, zeroBytes] = [(blocks * blockSize * bits) / 8, Math.ceil((blocks * bits) / 8)];
  const made: PackedBlocks = {
    codes: roomLike(layer.codes, Uint8Array, outFeatures * rowBytes),
    scales: roomLike(layer.codes, Float32Array, outFeatures * blocks),
    zeroPoints: hasZeroPoints ? roomLike(layer.codes, Uint8Array, outFeatures * zeroBytes) : null,
  };
  const entry = binding().packBlocks;
  const form = { blockSize, bits, offset, doubled: doubled ? 1 : 0 } as const;
  if (isShared(layer.codes) && layer.codes.length > small)
    await job(() => entry({ ...codesOf(layer), ...form, ...made, ...manyThreads() }), signal);
  else
    await inTurns(outFeatures, part / inFeatures, signal, (begin, end) => {
      const own = {
        codes: made.codes.subarray(begin * rowBytes, end * rowBytes),
        scales: made.scales.subarray(begin * blocks, end * blocks),
        zeroPoints: made.zeroPoints && made.zeroPoints.subarray(begin * zeroBytes, end * zeroBytes),
      };
      now(() => entry({ ...codesOf(rowsOf(layer, begin, end)), ...form, ...own, ...atOnce }));
    });
  return made;
}

/**
 * Rows of codes, or of what doubles them, as integers of `bits` bits one behind the other, each row filled up to `rowLength` with the
 * integer that `fill` has for it. Rejects as `permuted`.
 */
export async function packIntegers(
  codes: Int8Array,
  [rows, cols]: readonly [number, number],
  {
    bits,
    doubled,
    rowLength = cols,
    fill = null,
  }: { bits: number; doubled: boolean; rowLength?: number; fill?: Int8Array | null },
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const output = roomLike(codes, Uint8Array, Math.ceil((rows * rowLength * bits) / 8));
  const entry = binding().packIntegers;
  const form = { cols, rowLength, bits, doubled: doubled ? 1 : 0 } as const;
  if (isShared(codes) && codes.length > small)
    await job(() => entry({ input: codes, rows, fill, ...form, output, ...manyThreads() }), signal);
  // Eight rows end at a byte.
  else
    await inTurns(Math.ceil(rows / 8), part / (8 * rowLength), signal, (first, last) => {
      const [begin, end] = [8 * first, Math.min(rows, 8 * last)];
      const own = {
        input: codes.subarray(begin * cols, end * cols),
        fill: fill && fill.subarray(begin, end),
        output: output.subarray((begin * rowLength * bits) / 8, Math.ceil((end * rowLength * bits) / 8)),
      };
      now(() => entry({ ...own, rows: end - begin, ...form, ...atOnce }));
    });
  return output;
}

const atOnce = { threads: 1, now: true } as const;
const manyThreads = () => ({ threads: threadsFor({}) });

/** What a call does that is told to work at once. */
const now = <Result>(call: () => NativeJob<Result> | Result): Result => calling(call) as Result;

const job = <Result>(start: () => NativeJob<Result> | Result, signal: AbortSignal | undefined) =>
  finish(start as () => NativeJob<Result>, signal);

/** Goes through [0, count) some at a time, and lets the event loop go on now and then. */
async function inTurns(
  count: number,
  some: number,
  signal: AbortSignal | undefined,
  work: (begin: number, end: number) => void,
): Promise<void> {
  const step = Math.max(1, Math.floor(some));
  const turns = new Turns(signal);
  signal?.throwIfAborted();
  for (let begin = 0; begin < count; begin += step) {
    if (turns.due) await turns.next();
    work(begin, Math.min(count, begin + step));
  }
}

const bytesOf = ({ buffer, byteOffset }: ArrayBufferView, begin: number, end: number) =>
  new Uint8Array(buffer, byteOffset + begin, end - begin);

type ArrayKind<Values> = {
  new (length: number): Values;
  new (buffer: ArrayBufferLike, offset: number, length: number): Values;
  readonly BYTES_PER_ELEMENT: number;
};

/** Shorter arrays get memory of their own, which they may keep: they are not worth giving back. */
const shortestTaken = 2 ** 20;

/**
 * An array that is to be filled, in memory of the kind that `like` has: shared, taken from the same buffers. Throws ERR_VERTEXQ_MEMORY where there is no
 * room for it.
 */
function roomLike<Values>(like: ArrayBufferView, Kind: ArrayKind<Values>, length: number): Values {
  try {
    if (!isShared(like)) return new Kind(length);
    const bytes = length * Kind.BYTES_PER_ELEMENT;
    const taken = bytes < shortestTaken ? undefined : takeLike(like, bytes);
    return new Kind((taken ?? sharedBytes(bytes)).buffer, 0, length);
  } catch (cause) {
    throw outOfMemory(`no room for an array of ${length} numbers`, cause);
  }
}
