import { blockTypeNamed } from '../../../lib/containers/gguf/block-types';
import { convertNow } from '../../../lib/native/tensors';

// Written from the layouts of blocks alone: what the addon unpacks is held against it.

/** Writes a block's numbers to `to` from `at` on. */
type Decoder = (block: DataView, to: Float32Array, at: number) => void;

/** The fifth bit of weight `i`, from four bytes at `at`. */
const fifthBit = (block: DataView, at: number, i: number) => ((block.getUint32(at, true) >>> i) & 1) << 4;

/** Low nibbles first, then the high ones. */
const nibble = (block: DataView, at: number, i: number) =>
  (block.getUint8(at + (i % 16)) >> (i < 16 ? 0 : 4)) & 15;

const decoders: Readonly<Record<string, Decoder>> = {
  Q4_0: (block, to, at) => {
    const step = half(block, 0);
    for (let i = 0; i < 32; i++) to[at + i] = step * (nibble(block, 2, i) - 8);
  },
  Q4_1: (block, to, at) => {
    const [step, least] = [half(block, 0), half(block, 2)];
    for (let i = 0; i < 32; i++) to[at + i] = step * nibble(block, 4, i) + least;
  },
  Q5_0: (block, to, at) => {
    const step = half(block, 0);
    for (let i = 0; i < 32; i++) to[at + i] = step * ((nibble(block, 6, i) | fifthBit(block, 2, i)) - 16);
  },
  Q5_1: (block, to, at) => {
    const [step, least] = [half(block, 0), half(block, 2)];
    for (let i = 0; i < 32; i++) to[at + i] = step * (nibble(block, 8, i) | fifthBit(block, 4, i)) + least;
  },
  Q8_0: (block, to, at) => {
    const step = half(block, 0);
    for (let i = 0; i < 32; i++) to[at + i] = step * block.getInt8(2 + i);
  },
  // Two halves of 128: low nibbles are its first 64 weights, high ones the others; their upper two bits lie in 32 bytes.
  Q6_K: (block, to, at) => {
    const step = half(block, 208);
    for (let i = 0; i < 256; i++) {
      const [part, inside] = [i >> 7, i & 127];
      const low = (block.getUint8(64 * part + (inside & 63)) >> (inside < 64 ? 0 : 4)) & 15;
      const high = (block.getUint8(128 + 32 * part + (inside & 31)) >> (2 * (inside >> 5))) & 3;
      to[at + i] = step * block.getInt8(192 + (i >> 4)) * ((low | (high << 4)) - 32);
    }
  },
};

/** The numbers of whole blocks of a type, in float32: products in float64, rounded once. Throws for a type that is not read here. */
export function dequantized(type: string, bytes: Uint8Array): Float32Array {
  if (type === 'F32') return new Float32Array(new Uint8Array(bytes).buffer);
  if (type === 'F16' || type === 'BF16') return convertNow(bytes, type, 'F32');
  const decode = Object.hasOwn(decoders, type) ? decoders[type] : undefined;
  if (!decode) throw new Error(`tensors of type ${type} are not read here`);
  const { weights, bytes: size } = blockTypeNamed(type);
  const blocks = Math.floor(bytes.length / size);
  const values = new Float32Array(blocks * weights);
  for (let i = 0; i < blocks; i++)
    decode(new DataView(bytes.buffer, bytes.byteOffset + i * size, size), values, i * weights);
  return values;
}

function half(block: DataView, at: number): number {
  const bits = block.getUint16(at, true);
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction === 0 ? sign * Infinity : NaN;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}
