import { ArrayFile, type NpyData } from '../../containers/npy/npy';
import { SafetensorsFile } from '../../containers/safetensors/file';
import type { TensorFile } from '../../containers/tensor-file';
import { requireMemory } from '../../files/input-file';
import { convert, permuted } from '../../native/tensors';
import { describe } from '../../options/messages';
import { indexWhere } from '../../yielding';
import { calibrationError } from './tensor-checks';

type View = (buffer: ArrayBuffer) => NpyData;

/** What the dtypes become: halves float32. */
const readers: Record<string, { type: string; from: View | 'F16' | 'BF16' }> = {
  F64: { type: 'float64', from: (buffer) => new Float64Array(buffer) },
  F32: { type: 'float32', from: (buffer) => new Float32Array(buffer) },
  F16: { type: 'float32', from: 'F16' },
  BF16: { type: 'float32', from: 'BF16' },
  I64: { type: 'int64', from: (buffer) => new BigInt64Array(buffer) },
  I32: { type: 'int32', from: (buffer) => new Int32Array(buffer) },
  I16: { type: 'int16', from: (buffer) => new Int16Array(buffer) },
  I8: { type: 'int8', from: (buffer) => new Int8Array(buffer) },
  U64: { type: 'uint64', from: (buffer) => new BigUint64Array(buffer) },
  U32: { type: 'uint32', from: (buffer) => new Uint32Array(buffer) },
  U16: { type: 'uint16', from: (buffer) => new Uint16Array(buffer) },
  U8: { type: 'uint8', from: (buffer) => new Uint8Array(buffer) },
  BOOL: { type: 'bool', from: (buffer) => new Uint8Array(buffer) },
};

/** A tensor of a file, row-major, of a type as onnxruntime names it. */
export interface ReadTensor {
  data: NpyData;
  dims: number[];
  type: string;
}

/** What is asked of a file of tensors before memory is taken for them. */
export interface TensorChecks {
  /** Throws where the names are not those that are wanted. */
  names?: (names: readonly string[]) => void;
  /** Throws where a tensor of these dims and type is not what is wanted under this name. */
  tensor?: (name: string, dims: readonly number[], type: string) => void;
  signal?: AbortSignal | undefined;
}

/**
 * The tensors of a `.safetensors`, `.npz` or `.npy` file by name, after `checks` of the headers; `name`: that of a `.npy` file's array.
 * Rejects with what opening it brings, and as `tensorsIn`.
 */
export async function readTensors(
  path: string,
  name: string,
  checks: TensorChecks = {},
): Promise<Map<string, ReadTensor>> {
  const options = { signal: checks.signal };
  const file = await (/\.safetensors$/i.test(path)
    ? SafetensorsFile.open(path, options)
    : ArrayFile.open(path, name, options));
  try {
    return await tensorsIn(file, checks);
  } finally {
    await file.close();
  }
}

/** Those of an open file. Rejects with what reading brings, ERR_VERTEXQ_MEMORY; ERR_VERTEXQ_CALIBRATION at a dtype that no input takes. */
export async function tensorsIn(
  file: TensorFile,
  { names, tensor, signal }: TensorChecks = {},
): Promise<Map<string, ReadTensor>> {
  names?.([...file.tensors.keys()]);
  let [bytes, largest] = [0, 0];
  for (const [name, { dtype, shape, byteLength }] of file.tensors) {
    if (!Object.hasOwn(readers, dtype))
      throw calibrationError(
        file.path,
        `the tensor ${describe(name)} is ${dtype}: expected one of ${Object.keys(readers).join(', ')}`,
      );
    tensor?.(name, file.reversed.has(name) ? [...shape].reverse() : shape, readers[dtype]!.type);
    bytes += byteLength;
    largest = Math.max(largest, byteLength);
  }
  // The largest is there twice while it is put into another order or type.
  requireMemory(bytes + largest, file.path);
  const tensors = new Map<string, ReadTensor>();
  for (const name of file.tensors.keys()) tensors.set(name, await read(file, name, signal));
  return tensors;
}

async function read(file: TensorFile, name: string, signal: AbortSignal | undefined): Promise<ReadTensor> {
  const { dtype, shape } = file.tensor(name);
  const { type, from } = readers[dtype]!;
  signal?.throwIfAborted();
  const bytes = await file.read(name);
  const wrong = dtype === 'BOOL' ? await indexWhere<number>(bytes, (byte) => byte > 1, signal) : -1;
  if (wrong >= 0)
    throw calibrationError(
      file.path,
      `the tensor ${describe(name)} is BOOL and has other bytes than 0 and 1: element ${wrong} is ${bytes[wrong]}`,
    );
  const stored = typeof from === 'string' ? new Uint16Array(bytes.buffer) : from(bytes.buffer);
  const order = shape.map((_, i) => shape.length - 1 - i);
  const isReversed = file.reversed.has(name);
  const data = isReversed ? await permuted(stored, shape, order, signal) : stored;
  const dims = isReversed ? [...shape].reverse() : [...shape];
  return {
    data: typeof from === 'string' ? (await convert(data, from, 'F32', signal)).data : data,
    dims,
    type,
  };
}
