import type { NpyData } from '../../../lib/containers/npy/npy';

/** Types as NumPy writes them. */
const descrs: Record<string, string> = {
  ...{ float64: '<f8', float32: '<f4', float16: '<f2', bool: '|b1' },
  ...{ int64: '<i8', int32: '<i4', int16: '<i2', int8: '|i1' },
  ...{ uint64: '<u8', uint32: '<u4', uint16: '<u2', uint8: '|u1' },
};

/** A `.npy` file, version 1.0, of an array, row-major. `type`: for `bool`, of 0 and 1, and `float16`, of bits. */
export function formatNpy(array: { data: NpyData; dims: readonly number[]; type?: string }): Uint8Array {
  const { data, dims } = array;
  const type = array.type ?? data.constructor.name.replace(/^Big|Array$/g, '').toLowerCase();
  const shape = dims.length === 1 ? `(${dims[0]},)` : `(${dims.join(', ')})`;
  const dict = `{'descr': '${descrs[type]}', 'fortran_order': False, 'shape': ${shape}, }`;
  // The data begins at a multiple of 64 bytes, so that it can be mapped.
  const offset = Math.ceil((10 + dict.length + 1) / 64) * 64;
  const file = Buffer.alloc(offset + data.byteLength, ' ');
  file.write('\x93NUMPY\x01\x00', 'latin1');
  file.writeUInt16LE(offset - 10, 8);
  file.write(dict, 10, 'latin1');
  file[offset - 1] = 0x0a;
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), offset);
  return new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
}
