import { isFloat32Array } from '../realms';

// IEEE 754 binary16 and bfloat16, which JavaScript has no array types for: the bits are kept in a Uint16Array.

/** The values of half-precision numbers given as bits: exact. */
export function halfToFloat(bits: Uint16Array): Float32Array {
  const values = new Float32Array(bits.length);
  const words = new Uint32Array(values.buffer);
  for (let i = 0; i < bits.length; i++) {
    const half = bits[i]!;
    const sign = (half & 0x8000) << 16;
    const exponent = (half >> 10) & 0x1f;
    const fraction = half & 0x3ff;
    if (exponent === 0) values[i] = (sign ? -1 : 1) * fraction * 2 ** -24;
    else words[i] = sign | ((exponent === 31 ? 255 : exponent + 112) << 23) | (fraction << 13);
  }
  return values;
}

/** The values of bfloat16 numbers given as bits: exact. */
export function bfloatToFloat(bits: Uint16Array): Float32Array {
  const words = Uint32Array.from(bits, (half) => half << 16);
  return new Float32Array(words.buffer);
}

/** The nearest half-precision numbers, ties to even, as bits. From 65520 on the magnitude becomes infinite. */
export function floatToHalf(values: Float32Array | Float64Array): Uint16Array {
  const bits = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) bits[i] = roundToHalf(values[i]!);
  return bits;
}

function roundToHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  // The spacing of half-precision numbers around `magnitude`; dividing by a power of two is exact.
  let exponent = Math.max(-14, Math.floor(Math.log2(magnitude)));
  if (magnitude < 2 ** exponent) exponent = Math.max(-14, exponent - 1);
  const steps = roundToEven(magnitude / 2 ** (exponent - 10));
  // A subnormal has no hidden bit; rounding up to the next power of two carries into the exponent by itself.
  return sign | (((exponent + 14) << 10) + steps);
}

function roundToEven(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  return rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? low + 1 : low;
}

/** The nearest bfloat16 numbers, ties to even, as bits. */
export function floatToBfloat(values: Float32Array | Float64Array): Uint16Array {
  const singles = isFloat32Array(values) ? values : Float32Array.from(values);
  const words = new Uint32Array(singles.buffer, singles.byteOffset, singles.length);
  // Half of what is cut off, and one less where the last bit that stays is 0. A NaN stays one.
  return Uint16Array.from(words, (word, i) =>
    Number.isNaN(singles[i]) ? 0x7fc0 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16,
  );
}
