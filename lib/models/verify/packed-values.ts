import { intAttribute } from '../../containers/onnx/nodes';
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';
import type { Scope } from '../../containers/onnx/scope';
import { dimsOf } from '../../containers/onnx/tensor';
import type { Weights } from '../../containers/onnx/weights';
import { Turns } from '../../yielding';

/** A weight in blocks of few bits, as com.microsoft.MatMulNBits and GatherBlockQuantized take it. */
export interface PackedNode {
  node: NodeProto;
  codes: TensorProto;
  scales: TensorProto;
  zeroPoints: TensorProto | null;
  bits: number;
  blockSize: number;
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
}

/** What such a node computes with; why it is not read; undefined for other nodes. */
export function packedIn(node: NodeProto, scope: Scope): PackedNode | string | undefined {
  const isProduct = node.opType === 'MatMulNBits';
  if (node.domain !== 'com.microsoft' || (!isProduct && node.opType !== 'GatherBlockQuantized'))
    return undefined;
  const [codes, scales, zeroPoints] = (isProduct ? [1, 2, 3] : [0, 2, 3]).map((index) =>
    scope.initializer(node.input[index] ?? ''),
  );
  if (!codes || !scales) return 'its codes or scales are computed';
  if (node.input[3] && !zeroPoints) return 'its zero points are computed';
  if (isProduct && node.input[4]) return 'its inputs are in groups out of their order (g_idx)';
  if (codes.dataType !== DataType.UINT8 || (zeroPoints && zeroPoints.dataType !== DataType.UINT8))
    return 'its codes or zero points are not of the type uint8';
  const [bits, blockSize] = [intAttribute(node, 'bits', 4), intAttribute(node, 'block_size', isProduct ? 0 : 128)]; // prettier-ignore
  if (![2, 4, 8].includes(bits) || blockSize < 16) return `it has ${bits} bits in blocks of ${blockSize}`;
  const [rows, ...rest] = dimsOf(codes) as [number, ...number[]];
  const stored = (rest.reduce((product, dim) => product * dim, 1) * 8) / bits;
  const shape = isProduct
    ? ([intAttribute(node, 'N', 0), intAttribute(node, 'K', 0)] as const)
    : ([rows, stored] as const);
  return { node, codes, scales, zeroPoints: zeroPoints ?? null, bits, blockSize, shape };
}

/**
 * The values, [outFeatures, inFeatures], row after row in pieces: (code − zero point)·scale, where zero points that are left out are 2^(bits − 1). Throws a RangeError where the tensors are
 * not as long as the shape asks; rejects as `Weights.raw`; with the signal's reason.
 */
export async function unpackedValues(
  { codes, scales, zeroPoints, bits, blockSize, shape }: PackedNode,
  weights: Weights,
  signal?: AbortSignal,
): Promise<Float32Array> {
  const [rows, cols] = shape;
  const blocks = Math.ceil(cols / blockSize);
  const blockBytes = (blockSize * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const packed = await weights.raw(codes);
  const steps = await weights.floats(scales, signal);
  const zeros = zeroPoints && (await weights.raw(zeroPoints));
  for (const [tensor, length, expected] of [
    [codes, packed.length, rows * blocks * blockBytes],
    [scales, steps.length, rows * blocks],
    [zeroPoints, zeros?.length, rows * zeroBytes],
  ] as const)
    if (tensor && length !== expected)
      throw new RangeError(`"${tensor.name}" has ${length} numbers, and ${expected} belong to [${shape.join(', ')}]`); // prettier-ignore
  const field = (bytes: Uint8Array, begin: number, index: number) => {
    const bit = index * bits;
    return (bytes[begin + (bit >> 3)]! >> (bit & 7)) & (2 ** bits - 1);
  };
  const values = new Float32Array(rows * cols);
  const turns = new Turns(signal);
  for (let row = 0; row < rows; row++) {
    if (turns.due) await turns.next();
    for (let block = 0; block < blocks; block++) {
      const scale = steps[row * blocks + block]!;
      const zero = zeros ? field(zeros, row * zeroBytes, block) : 2 ** (bits - 1);
      const begin = (row * blocks + block) * blockBytes;
      const end = Math.min(cols, (block + 1) * blockSize);
      for (let col = block * blockSize; col < end; col++)
        values[row * cols + col] = (field(packed, begin, col - block * blockSize) - zero) * scale;
    }
  }
  return values;
}
