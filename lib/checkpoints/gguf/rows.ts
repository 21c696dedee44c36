import type { TensorEntry, TensorFile } from '../../containers/tensor-file';
import { type FloatDtype, floatBytes } from '../../containers/safetensors/dtypes';
import { VertexqError } from '../../errors';
import { unpacked } from '../../encodings/gguf/blocks';
import type { GgufType } from '../../encodings/gguf/table';
import { convert, permuted } from '../../native/tensors';
import { describe } from '../../options/messages';

/** Bytes of rows that are read at a time to take columns of them. */
const transposedBytes = 2 ** 24;

/** Numbers that are read row by row. */
export interface Rows {
  dtype: string;
  rows: number;
  rowBytes: number;
  read(begin: number, end: number): Promise<Uint8Array>;
  /** Where they lie in a file as they are: nothing need be made of them. */
  position?: number;
}

/** Those of a tensor: all dimensions but the last count them, and a vector is one. */
export function rowsIn(file: TensorFile, { dtype, shape, byteLength, position }: TensorEntry): Rows {
  const rows = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  const rowBytes = rows === 0 ? 0 : byteLength / rows;
  const read = async (begin: number, end: number) => {
    const bytes = new Uint8Array((end - begin) * rowBytes);
    await file.fill(bytes, position + begin * rowBytes);
    return bytes;
  };
  return { dtype, rows, rowBytes, read, position };
}

/** Some rows of all. */
export function rowsOf(all: Rows, begin: number, end: number): Rows {
  const { dtype, rowBytes, position } = all;
  return {
    ...{ dtype, rowBytes, rows: end - begin },
    read: (first, last) => all.read(begin + first, begin + last),
    ...(position !== undefined && { position: position + begin * rowBytes }),
  };
}

/** Rows of as many matrices, all of one size and type, one behind the other. */
export function stacked(parts: readonly Rows[]): Rows {
  const [{ dtype, rowBytes, rows: each }] = parts as [Rows];
  const read = async (begin: number, end: number) => {
    const bytes = new Uint8Array((end - begin) * rowBytes);
    for (let row = begin, last; row < end; row = last) {
      const part = Math.floor(row / each);
      last = Math.min(end, (part + 1) * each);
      bytes.set(await parts[part]!.read(row - part * each, last - part * each), (row - begin) * rowBytes);
    }
    return bytes;
  };
  return { dtype, rowBytes, rows: parts.length * each, read };
}

/**
 * With the rows of each head in another order: `toPairs` makes of two halves, whose entries are rotated together, pairs that lie beside each other;
 * else the other way.
 */
export function permutedRows(from: Rows, heads: number, toPairs: boolean): Rows {
  const { rows, rowBytes } = from;
  const size = rows / heads;
  const read = async (begin: number, end: number) => {
    const [first, last] = [Math.floor(begin / size), Math.ceil(end / size)];
    const bytes = await from.read(first * size, last * size);
    const turned = await inPairs(bytes, last - first, rowBytes, toPairs);
    return turned.subarray((begin - first * size) * rowBytes, (end - first * size) * rowBytes);
  };
  return { dtype: from.dtype, rows, rowBytes, read };
}

/** Rows of so many heads in the other order. */
export function inPairs(
  bytes: Uint8Array,
  heads: number,
  rowBytes: number,
  toPairs: boolean,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const half = bytes.length / rowBytes / heads / 2;
  return permuted(
    bytes,
    toPairs ? [heads, 2, half, rowBytes] : [heads, half, 2, rowBytes],
    [0, 2, 1, 3],
    signal,
  );
}

/** The columns of a matrix of `cols`, as rows. */
export function transposedRows(from: Rows, cols: number): Rows {
  const size = from.rowBytes / cols;
  const step = Math.max(1, Math.floor(transposedBytes / Math.max(1, from.rowBytes)));
  const read = async (begin: number, end: number) => {
    const width = (end - begin) * size;
    const taken = new Uint8Array(from.rows * width);
    for (let first = 0, last; first < from.rows; first = last) {
      last = Math.min(from.rows, first + step);
      const bytes = await from.read(first, last);
      for (let row = first; row < last; row++) {
        const at = (row - first) * from.rowBytes + begin * size;
        taken.set(bytes.subarray(at, at + width), row * width);
      }
    }
    return permuted(taken, [from.rows, end - begin, size], [1, 0, 2]);
  };
  return { dtype: from.dtype, rows: cols, rowBytes: from.rows * size, read };
}

/** Entries of a vector as rows of one. */
export const asColumn = (rows: Rows, size: number): Rows => {
  const rowBytes = rows.rowBytes / size;
  const read = async (begin: number, end: number) =>
    (await rows.read(0, 1)).slice(begin * rowBytes, end * rowBytes);
  return { dtype: rows.dtype, rows: size, rowBytes, read };
};

/** The same numbers as another type; `added`: to each of them. Reading rejects with ERR_VERTEXQ_NOT_FINITE where one is none of the type's. */
export function converted(from: Rows, what: string, to: 'F32' | 'F16' | 'BF16', added = 0): Rows {
  const dtype = from.dtype as FloatDtype;
  if (dtype === to && added === 0) return from;
  const { rows } = from;
  const rowBytes = (from.rowBytes / floatBytes[dtype]) * floatBytes[to];
  const read = async (begin: number, end: number) => {
    const bytes = await from.read(begin, end);
    let values: ArrayBufferView = bytes;
    let type: FloatDtype = dtype;
    if (added !== 0 || (dtype === 'F64' && to !== 'F32')) {
      const { data } = await convert(bytes, dtype, 'F32');
      for (let i = 0; added !== 0 && i < data.length; i++) data[i]! += added;
      [values, type] = [data, 'F32'];
    }
    if (type === to) return bytesOf(values);
    const { data, finite } = await convert(values, type, to);
    if (!finite && (await isFinite(values, type)))
      throw new VertexqError(
        'ERR_VERTEXQ_NOT_FINITE',
        `${what} has numbers beyond those of ${to}: use another format, as "gguf:bf16"`,
      );
    return bytesOf(data);
  };
  return { dtype: to, rows, rowBytes, read };
}

/** Whether all numbers are finite as they are stored. */
const isFinite = async (values: ArrayBufferView, type: FloatDtype) =>
  type === 'F32' ? new Float32Array(values.buffer, values.byteOffset, values.byteLength / 4).every(Number.isFinite) : (await convert(values, type, 'F32')).finite; // prettier-ignore

/** The numbers that blocks stand for, in float32. */
export function dequantizedRows(from: Rows, type: GgufType): Rows {
  const { rows } = from;
  const cols = (from.rowBytes / type.bytes) * type.weights;
  const read = async (begin: number, end: number) =>
    bytesOf(await unpacked(type, await from.read(begin, end), [end - begin, cols], {}, begin));
  return { dtype: 'F32', rows, rowBytes: 4 * cols, read };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Throws a RangeError where so many rows do not belong to so many heads of pairs. */
export function requireHeads(name: string, rows: number, heads: number): void {
  if (rows % (2 * heads) !== 0)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `tensor ${describe(name)} has ${rows} rows, which are no ${heads} heads of pairs`,
    );
}
