import { convert, permuted, type TypedArray } from '../../native/tensors';
import { indexWhere } from '../../yielding';
import { InputFile } from '../../files/input-file';
import { npyError, npyPreamble, npyHeaderEnd, parseNpyHeader } from './npy-header';
import type { NpyHeader } from './npy-header';

export type NpyData = TypedArray;

/** A tensor of a `.npy` file, row-major. */
export interface NpyArray {
  data: NpyData;
  dims: number[];
  /** As onnxruntime names tensor types: `float32`, `int64`, `bool`, … */
  type: string;
}

const constructors = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  int32: Int32Array,
  int64: BigInt64Array,
  uint8: Uint8Array,
  uint16: Uint16Array,
  uint32: Uint32Array,
  uint64: BigUint64Array,
  bool: Uint8Array,
  float16: Uint16Array,
} as const;

type TypeName = keyof typeof constructors;

/**
 * Parses a NumPy `.npy` file, versions 1.0 to 3.0: little-endian integers of 8 to 64 bits, booleans, float32, float64, and
 * float16, which becomes float32. Fortran order becomes C order. The data is a view of `bytes` where order, alignment and type
 * allow it. `file` is for messages. Rejects with ERR_VERTEXQ_NPY, ERR_VERTEXQ_MEMORY; with the signal's reason.
 */
export async function parseNpy(bytes: Uint8Array, file: string, signal?: AbortSignal): Promise<NpyArray> {
  const header = parseNpyHeader(bytes, file);
  requireSize(header, bytes.length, file);
  const { format, dims } = header;
  const stored = elementsOf(bytes, header);
  if (format.type === 'bool') await requireBooleans(stored as Uint8Array, file, signal);
  // In Fortran order, a tensor of the dimensions from the last to the first.
  const order = dims.map((_, i) => dims.length - 1 - i);
  const data = header.fortran ? await permuted(stored, [...dims].reverse(), order, signal) : stored;
  if (format.type !== 'float16') return { data, dims, type: format.type };
  return { data: (await convert(data, 'F16', 'F32', signal)).data, dims, type: 'float32' };
}

/**
 * Reads a `.npy` file. The header is checked against the file's size before memory is taken for the data. Rejects with
 * ERR_VERTEXQ_FILE, ERR_VERTEXQ_NPY, or ERR_VERTEXQ_MEMORY where the data does not fit into memory.
 */
export async function readNpy(path: string, signal?: AbortSignal): Promise<NpyArray> {
  const bytes = await InputFile.with(path, async (file) => {
    const preamble = await file.read(0, Math.min(file.size, npyPreamble));
    const headerEnd = npyHeaderEnd(preamble, path);
    const header = parseNpyHeader(await file.read(0, Math.min(file.size, headerEnd)), path);
    requireSize(header, file.size, path);
    return file.read(0, file.size);
  });
  return parseNpy(bytes, path, signal);
}

/** The type that numbers of a stored type are read as. */
export function readAs(type: string): string {
  return type === 'float16' ? 'float32' : type;
}

/** Throws ERR_VERTEXQ_NPY unless a file of `size` bytes is exactly what its header says. */
export function requireSize(header: NpyHeader, size: number, file: string): void {
  if (size === header.end) return;
  const shape = `the shape (${header.dims.join(', ')}) of ${header.format.type}`;
  throw npyError(
    file,
    size < header.end
      ? `truncated: ${shape} needs ${header.end} bytes with its header, the file has ${size}`
      : `${size - header.end} bytes follow the data: ${shape} ends at byte ${header.end}`,
  );
}

/** The numbers in the order they are stored in. */
function elementsOf(bytes: Uint8Array, { format, offset, length, end }: NpyHeader): NpyData {
  const Elements = constructors[format.type as TypeName];
  if ((bytes.byteOffset + offset) % format.bytes === 0)
    return new Elements(bytes.buffer as ArrayBuffer, bytes.byteOffset + offset, length);
  // Not `slice`: a Buffer's is another view.
  const copy = new Uint8Array(end - offset);
  copy.set(bytes.subarray(offset, end));
  return new Elements(copy.buffer, 0, length);
}

/** Other bytes than 0 and 1 are no C++ `bool`. */
async function requireBooleans(bytes: Uint8Array, file: string, signal?: AbortSignal): Promise<void> {
  const wrong = await indexWhere<number>(bytes, (byte) => byte > 1, signal);
  if (wrong >= 0)
    throw npyError(file, `element ${wrong} of a bool array is ${bytes[wrong]}: expected 0 or 1`);
}
