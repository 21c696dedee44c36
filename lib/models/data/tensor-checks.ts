import { VertexqError } from '../../errors';
import type { NpyData } from '../../containers/npy/npy';
import { elementCount } from '../../containers/npy/npy-header';
import { convert as converted } from '../../native/tensors';
import { describe } from '../../options/messages';
import type { FloatArray } from '../../types';
import { indexWhere, inParts } from '../../yielding';

/** An input of a network, as its graph declares it. */
export interface ModelInput {
  name: string;
  /** As onnxruntime names tensor types: `float32`, `int64`, … */
  type: string;
  /** A name or null where a dimension is free; null for an unknown rank. */
  dims: readonly (number | string | null)[] | null;
  /** Along which the samples lie (batch-axes.ts); null where all samples share the tensor. Default: the first. */
  batchAxis?: number | null;
}

/** The batch axis of a tensor for an input. */
export function batchAxisOf({ batchAxis }: ModelInput, rank: number): number | null {
  return rank === 0 ? null : batchAxis === undefined ? 0 : batchAxis;
}

/** Data that can be cut along its first dimension without copying. */
export type TensorData = NpyData | string[];

/** A tensor that fits the network's input. */
export interface CheckedTensor {
  data: TensorData;
  dims: readonly number[];
  type: string;
}

/** The tensor types that an array can be of; the first where none is named. */
const typesOf: Record<string, readonly string[]> = {
  Float32Array: ['float32'],
  Float64Array: ['float64'],
  Int8Array: ['int8'],
  Int16Array: ['int16'],
  Int32Array: ['int32'],
  BigInt64Array: ['int64'],
  Uint8Array: ['uint8', 'bool'],
  Uint8ClampedArray: ['uint8'],
  Uint16Array: ['uint16', 'float16'],
  Uint32Array: ['uint32'],
  BigUint64Array: ['uint64'],
};

export function calibrationError(where: string, message: string): VertexqError {
  return new VertexqError('ERR_VERTEXQ_CALIBRATION', `${where}: ${message}`);
}

/**
 * Checks `value` against the input that it is for and converts float64 to float32, int32 to int64, and either float type to
 * float16. Rejects with a TypeError where it is no tensor, ERR_VERTEXQ_CALIBRATION where it does not fit the input.
 */
export async function checkTensor(
  value: unknown,
  input: ModelInput,
  where: string,
  signal?: AbortSignal,
): Promise<CheckedTensor> {
  const what = `the input ${describe(input.name)}`;
  if (input.type === 'unknown')
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${what} of the network is no tensor: this version of vertexq feeds only tensors`,
    );
  const tensor = await tensorOf(value, input.type, `${where}: ${what}`, signal);
  const { dims } = tensor;
  if (elementCount(dims) !== tensor.data.length)
    throw calibrationError(
      where,
      `${what} has the dims [${dims.join(', ')}], so its data should have ${elementCount(dims)} elements, not ${tensor.data.length}`,
    );
  requireDims(dims, input, where);
  return convert(tensor, input, where, signal);
}

/** Throws ERR_VERTEXQ_CALIBRATION where a tensor of these dims does not fit the input. */
function requireDims(dims: readonly number[], input: ModelInput, where: string): void {
  const what = `the input ${describe(input.name)}`;
  if (input.dims !== null && input.dims.length !== dims.length)
    throw calibrationError(
      where,
      `${what} should have ${input.dims.length} dimensions, [${input.dims.map((dim) => dim ?? '?').join(', ')}], not ${dims.length}: [${dims.join(', ')}]`,
    );
  const batchAxis = batchAxisOf(input, dims.length);
  if (batchAxis !== null && batchAxis >= dims.length)
    throw calibrationError(
      where,
      `${what} should have samples along axis ${batchAxis} (the option "batchAxis"), and has the dims [${dims.join(', ')}]`,
    );
  for (const [axis, dim] of (input.dims ?? []).entries())
    // The samples of data in one piece are cut to size later.
    if (axis !== batchAxis && typeof dim === 'number' && dim > 0 && dims[axis] !== dim)
      throw calibrationError(
        where,
        `${what} should have the dims [${input.dims!.map((known) => known ?? '?').join(', ')}], not [${dims.join(', ')}]: dimension ${axis} is fixed` +
          (axis === 0
            ? `, and the samples ${batchAxis === null ? 'all share this input' : `lie along axis ${batchAxis}`} (the option "batchAxis", or --batch-axis, says otherwise)`
            : ''),
      );
}

/** What `checkTensor` throws at an array of a file, as far as its header tells. */
export function checkHeader(
  { dims, type }: { dims: readonly number[]; type: string },
  input: ModelInput,
  where: string,
): void {
  // That is no tensor, which is told later.
  if (input.type === 'unknown') return;
  const stacked = input.dims !== null && dims.length === input.dims.length + 1;
  requireDims(dims, stacked ? { ...input, dims: [null, ...input.dims!], batchAxis: 0 } : input, where);
  requireConvertible(type, input, where);
}

/** The tensor that a value of JavaScript is. A type that it does not name is taken to be the wanted one, if it can be. */
async function tensorOf(
  value: unknown,
  wantedType: string,
  what: string,
  signal: AbortSignal | undefined,
): Promise<CheckedTensor> {
  if (typeof value !== 'object' || value === null)
    throw new TypeError(`${what} should be a tensor, { data, dims, type }, not ${describe(value)}`);
  const { dims, type } = value as { dims?: unknown; type?: unknown };
  const data = dataOf(value, what);
  if (!Array.isArray(dims) || !dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0))
    throw new TypeError(
      `${what} should have "dims" of whole numbers, not ${Array.isArray(dims) ? `[${dims.map(describe).join(', ')}]` : describe(dims)}`,
    );
  if (type !== undefined && typeof type !== 'string')
    throw new TypeError(`${what} should have a "type" that is a string, not ${describe(type)}`);
  const kind = Array.isArray(data) ? 'array' : data[Symbol.toStringTag];
  const possible = kind === 'array' ? await arrayTypes(data as unknown[], what, signal) : typesOf[kind]!;
  if (type !== undefined && !possible.includes(type))
    throw new TypeError(
      `${what} has the type ${describe(type)}, and its data is ${kind === 'array' ? 'an array' : `a ${kind}`} of ${possible.join(' or ')}`,
    );
  const actual = type ?? (possible.includes(wantedType) ? wantedType : possible[0]!);
  return { data: await plain(data, what, signal), dims: dims as number[], type: actual };
}

type AnyArray = Exclude<TensorData, string[]> | Uint8ClampedArray | string[] | boolean[];

function dataOf(tensor: object, what: string): AnyArray {
  let data: unknown;
  try {
    // A tensor of onnxruntime throws here if its data is on a GPU.
    data = (tensor as { data?: unknown }).data;
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `${what} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (Array.isArray(data)) return data as string[];
  // Not `instanceof`, which fails for arrays of another realm.
  if (ArrayBuffer.isView(data) && Object.hasOwn(typesOf, (data as Uint8Array)[Symbol.toStringTag] ?? ''))
    return data as Uint8Array;
  throw new TypeError(`${what} should have "data" that is a typed array, not ${describe(data)}`);
}

/** onnxruntime takes strings and booleans as arrays too, and numbers only as typed arrays. */
async function arrayTypes(
  data: unknown[],
  what: string,
  signal: AbortSignal | undefined,
): Promise<readonly string[]> {
  const kind = typeof data[0];
  if (data.length > 0 && kind !== 'string' && kind !== 'boolean')
    throw new TypeError(
      `${what} should have "data" that is a typed array, such as Float32Array.from(data), not an array of ${kind}s`,
    );
  const odd = await indexWhere(data, (element) => typeof element !== kind, signal);
  if (odd >= 0) throw new TypeError(`${what} has ${describe(data[odd])} among its ${kind}s, at ${odd}`);
  return data.length === 0 ? ['string', 'bool'] : [kind === 'string' ? 'string' : 'bool'];
}

/** Without subclasses such as Buffer, whose methods differ, and without memory that another thread can change. */
async function plain(data: AnyArray, what: string, signal: AbortSignal | undefined): Promise<TensorData> {
  if (Array.isArray(data)) {
    if (typeof data[0] !== 'boolean') return data as string[];
    const bytes = new Uint8Array(data.length);
    const part = (begin: number, end: number) => {
      for (let i = begin; i < end; i++) bytes[i] = Number(data[i]);
    };
    await inParts(data.length, part, signal);
    return bytes;
  }
  if (Object.prototype.toString.call(data.buffer) !== '[object ArrayBuffer]')
    throw new TypeError(`${what} should not be over a SharedArrayBuffer: copy it first, with .slice()`);
  // A view of a transferred buffer cannot be viewed again; its length is 0.
  if (data.length === 0 || !data[Symbol.toStringTag].startsWith('Uint8')) return data as TensorData;
  return new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
}

/** What types a network's input takes, besides its own. */
const convertible: Record<string, readonly string[]> = {
  float32: ['float64'],
  int64: ['int32'],
  float16: ['float32', 'float64'],
};

function requireConvertible(type: string, { name, type: wanted }: ModelInput, where: string): void {
  if (type === wanted || convertible[wanted]?.includes(type)) return;
  const numpy = wanted === 'string' ? '' : `: convert it, in NumPy with .astype("${wanted}")`;
  throw calibrationError(where, `the input ${describe(name)} should be ${wanted}, not ${type}${numpy}`);
}

async function convert(
  tensor: CheckedTensor,
  input: ModelInput,
  where: string,
  signal: AbortSignal | undefined,
): Promise<CheckedTensor> {
  const { dims, type } = tensor;
  const { type: wanted } = input;
  if (type === wanted) return tensor;
  requireConvertible(type, input, where);
  const given = tensor.data as Int32Array | Float32Array | Float64Array;
  if (wanted === 'int64')
    return { data: (await converted(given, 'I32', 'I64', signal)).data, dims, type: wanted };
  const to = wanted === 'float16' ? 'F16' : 'F32';
  const { data, finite } = await converted(given, type === 'float64' ? 'F64' : 'F32', to, signal);
  if (!finite) await requireFitting(given as FloatArray, input, where, signal);
  return { data, dims, type: wanted };
}

/** Rejects with ERR_VERTEXQ_CALIBRATION at a number that is finite and would not be in the type of the input. */
async function requireFitting(
  numbers: FloatArray,
  { name, type }: ModelInput,
  where: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const largest = type === 'float16' ? 65504 : 3.4028234663852886e38;
  const isLost = (number: number) => Math.abs(number) > largest && Number.isFinite(number);
  const lost = await indexWhere(numbers, isLost, signal);
  if (lost >= 0)
    throw calibrationError(
      where,
      `the input ${describe(name)} has ${numbers[lost]} at ${lost}, which does not fit ${type}`,
    );
}
