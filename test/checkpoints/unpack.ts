import { openCheckpoint } from '../../lib/containers/safetensors/checkpoint';
import { halfToFloat } from '../numbers';

// Readers of the packed formats, written from their specifications, bit by bit.

/** Everything in a checkpoint. */
export interface Read {
  tensors: Map<string, { dtype: string; shape: readonly number[]; bytes: Uint8Array<ArrayBuffer> }>;
}

export async function readAll(path: string): Promise<Read> {
  const checkpoint = await openCheckpoint(path);
  const tensors: Read['tensors'] = new Map();
  for (const shard of checkpoint.shards.values())
    for (const [name, { dtype, shape }] of shard.tensors)
      tensors.set(name, { dtype, shape, bytes: await shard.read(name) });
  await checkpoint.close();
  return { tensors };
}

export function floats(bytes: Uint8Array<ArrayBuffer>, dtype: string): Float32Array {
  if (dtype === 'F64') return Float32Array.from(new Float64Array(bytes.buffer));
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  if (dtype === 'F16') return halfToFloat(halves);
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}

/** The unsigned number of `bits` bits at bit `at`. */
function field(bytes: Uint8Array, at: number, bits: number): number {
  let value = 0;
  for (let bit = 0; bit < bits; bit++) value |= ((bytes[(at + bit) >> 3]! >> ((at + bit) & 7)) & 1) << bit;
  return value;
}

/** A weight's values, in float64 and rounded once to float32, [outFeatures, inFeatures]. */
export interface Unpacked {
  shape: [number, number];
  values: Float32Array;
}

export function unpackCompressed({ tensors }: Read, module: string, bits: number): Unpacked {
  const part = (name: string) => tensors.get(`${module}.weight_${name}`);
  const [rows, cols] = [...new BigInt64Array(part('shape')!.bytes.buffer)].map(Number) as [number, number];
  const packed = part('packed')!;
  const scale = part('scale')!;
  const scales = floats(scale.bytes, scale.dtype);
  const groups = scale.shape[1]!;
  const zeros = part('zero_point');
  const offset = 2 ** (bits - 1);
  const values = new Float32Array(rows * cols);
  const size = cols / groups;
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < cols; j++) {
      const g = Math.floor(j / size);
      const code = field(packed.bytes, i * packed.shape[1]! * 32 + j * bits, bits) - offset;
      let zero = 0;
      if (zeros) {
        // Packed down the columns: the words of one are groups apart.
        const column = Buffer.alloc(zeros.shape[0]! * 4);
        const words = new Int32Array(zeros.bytes.buffer);
        for (let w = 0; w < zeros.shape[0]!; w++) column.writeInt32LE(words[w * groups + g]!, 4 * w);
        zero = field(column, i * bits, bits) - offset;
      }
      values[i * cols + j] = (code - zero) * scales[i * groups + g]!;
    }
  return { shape: [rows, cols], values };
}

export function unpackGptq({ tensors }: Read, module: string, bits: number, version: 1 | 2): Unpacked {
  const part = (name: string) => tensors.get(`${module}.${name}`)!;
  const [qweight, qzeros, scale] = [part('qweight'), part('qzeros'), part('scales')];
  const indices = new Int32Array(part('g_idx').bytes.buffer);
  const [rows, cols] = [qweight.shape[1]!, indices.length];
  const scales = floats(scale.bytes, scale.dtype);
  const words = new Int32Array(qweight.bytes.buffer);
  const values = new Float32Array(rows * cols);
  for (let o = 0; o < rows; o++) {
    const column = Buffer.alloc(qweight.shape[0]! * 4);
    for (let w = 0; w < qweight.shape[0]!; w++) column.writeInt32LE(words[w * rows + o]!, 4 * w);
    for (let i = 0; i < cols; i++) {
      const g = indices[i]!;
      const zero = field(qzeros.bytes, g * qzeros.shape[1]! * 32 + o * bits, bits) + (version === 1 ? 1 : 0);
      values[o * cols + i] = (field(column, i * bits, bits) - zero) * scales[g * rows + o]!;
    }
  }
  return { shape: [rows, cols], values };
}
