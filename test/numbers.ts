import { convertNow } from '../lib/native/tensors';
import type { FloatArray } from '../lib/types';

// Halves, which JavaScript has no arrays for, as their bits.

export const halfToFloat = (bits: Uint16Array) => convertNow(bits, 'F16', 'F32');
export const bfloatToFloat = (bits: Uint16Array) => convertNow(bits, 'BF16', 'F32');
export const floatToHalf = (values: FloatArray) => convertNow(values, typeOf(values), 'F16');
export const floatToBfloat = (values: FloatArray) => convertNow(values, typeOf(values), 'BF16');

const typeOf = (values: FloatArray) => (values.BYTES_PER_ELEMENT === 4 ? 'F32' : 'F64');

/** The transpose of a row-major rows × cols matrix, element by element. */
export function transposed<Values extends FloatArray>(values: Values, rows: number, cols: number): Values {
  const result = values.slice() as Values;
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) result[j * rows + i] = values[i * cols + j]!;
  return result;
}

/** ‖a − b‖ / ‖b‖. */
export function apart(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [error, signal] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    error += (a[i]! - b[i]!) ** 2;
    signal += b[i]! ** 2;
  }
  return Math.sqrt(error / signal);
}
