import { VertexqError } from '../../errors';
import type { Layer } from '../layers/layer';
import { floatAttribute, intAttribute, isStandard } from '../../containers/onnx/graph';
import { floatTensor } from '../../containers/onnx/float-tensor';
import { node } from '../../containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import type { PackedTensors } from './packed';
import { Steps } from './steps';
import type { Wiring } from './stored-weight';
import { viewOf } from './view';

/** Whether a layer's node is a product that MatMulNBits can take over: of a matrix that is all of one input. */
export function isProduct(layer: Layer): boolean {
  const { node: product, weightIndex } = layer;
  if (viewOf(layer).dims.length !== 2) return false;
  if (isStandard(product))
    return product.opType === 'MatMul' || (product.opType === 'Gemm' && weightIndex === 1);
  const batches = ['transBatchA', 'transBatchB'].some((name) => intAttribute(product, name, 0) !== 0);
  return (
    product.domain === 'com.microsoft' && product.opType === 'FusedMatMul' && weightIndex === 1 && !batches
  );
}

/** Puts a MatMulNBits in place of a MatMul, Gemm or FusedMatMul, with what else these compute before and behind it. */
export function multiply(
  packed: PackedTensors,
  layer: Layer,
  { model, names, edits, activationRank }: Wiring,
): void {
  const { node: product, weightIndex } = layer;
  const output = product.output[0]!;
  const base = product.name || output;
  const { bits, blockSize, outFeatures, inFeatures, codes, scales, zeroPoints } = packed;
  const left = product.opType === 'MatMul' && weightIndex === 0;
  const turns = left || (product.opType !== 'MatMul' && intAttribute(product, 'transA', 0) !== 0);
  const rank = product.opType === 'Gemm' ? 2 : activationRank;
  if (turns && rank === undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `layer "${layer.name}": MatMulNBits wants its weight on the right, and to turn the product round, the rank of "${product.input[1 - weightIndex]}" must be known`,
    );
  // Exchanges the last two axes; a vector is a row as it is.
  const perm = Array.from({ length: rank ?? 0 }, (_, i) => (i < rank! - 2 ? i : 2 * rank! - 3 - i));
  const steps = new Steps(names, base, opsetOf(model));
  if (turns && perm.length > 1) steps.transpose(perm);
  steps.add((input, result) =>
    node(
      'MatMulNBits',
      [input, codes.name, scales.name, ...(zeroPoints ? [zeroPoints.name] : [])],
      [result],
      {
        name: names.unused(`${base}_Q${bits}`),
        domain: 'com.microsoft',
        attributes: {
          K: BigInt(inFeatures),
          N: BigInt(outFeatures),
          bits: BigInt(bits),
          block_size: BigInt(blockSize),
        },
      },
    ),
  );
  if (left && perm.length > 1) steps.transpose(perm);
  scaleAndAdd(layer, base, packed.half, steps, { names, edits });
  edits.insertBefore(product, steps.nodes(product.input[1 - weightIndex]!, output));
  model.graph!.initializer.push(...steps.tensors);
  edits.remove(product);
}

/** α, and Gemm's β·C, where they are not 1 and absent. */
function scaleAndAdd(
  { node: product }: Layer,
  base: string,
  half: boolean,
  steps: Steps,
  { names, edits }: Pick<Wiring, 'names' | 'edits'>,
): void {
  if (product.opType === 'MatMul') return;
  const alpha = floatAttribute(product, 'alpha', 1);
  const beta = product.opType === 'Gemm' ? floatAttribute(product, 'beta', 1) : 0;
  let bias = product.input[2] ?? '';
  const factor = (value: number) => {
    const name = names.unused(`${base}_factor`);
    const type = half ? DataType.FLOAT16 : DataType.FLOAT;
    steps.tensors.push(floatTensor(name, [], type, Float32Array.of(value)));
    return name;
  };
  if (alpha !== 1)
    steps.add((input, result) =>
      node('Mul', [input, factor(alpha)], [result], { name: names.unused(`${base}_alpha`) }),
    );
  if (bias === '' || beta === 0) return;
  if (beta !== 1) {
    const scaled = names.unused(`${base}_scaled_bias`);
    edits.insertBefore(product, [
      node('Mul', [bias, factor(beta)], [scaled], { name: names.unused(`${base}_beta`) }),
    ]);
    bias = scaled;
  }
  steps.add((input, result) => node('Add', [input, bias], [result], { name: names.unused(`${base}_bias`) }));
}
