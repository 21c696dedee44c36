import { node, tensor } from '../../containers/onnx/make';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';

/** A weight as numbers times scales, [outFeatures, groups, groupSize] · [outFeatures, groups, 1]. */
export interface ScaledWeight {
  /** What it is called in its graph. */
  weight: string;
  dims: readonly [outFeatures: number, groups: number, groupSize: number];
  values: Float32Array;
  /** Whether the graph has it as [inFeatures, outFeatures]. */
  isTurned: boolean;
}

/** What computes such a weight from its scales, and the derivatives by these. */
export interface ScaledNodes {
  constants: TensorProto[];
  nodes: NodeProto[];
  /** Take the derivatives by the weight, `slopes`. */
  gradients: NodeProto[];
  /** The scales. */
  input: string;
  gradient: string;
}

/** `at` makes names; `last`: the constant [−1]. */
export function scaledNodes(
  { weight, dims, values, isTurned }: ScaledWeight,
  slopes: string,
  at: (name: string) => string,
  last: string,
): ScaledNodes {
  const [outFeatures, groups, groupSize] = dims;
  const shape = BigInt64Array.of(BigInt(outFeatures), BigInt(groups * groupSize));
  const grouped = BigInt64Array.of(BigInt(outFeatures), BigInt(groups), -1n);
  const turn = (from: string, to: string) =>
    node('Transpose', [from], [to], { attributes: { perm: [1n, 0n] } });
  const [input, gradient] = [at('scales'), at('scales/gradient')];
  const plain = isTurned ? at('weight') : weight;
  return {
    constants: [
      tensor(at('levels'), dims, values),
      tensor(at('shape'), [2], shape),
      tensor(at('grouped'), [3], grouped),
    ],
    nodes: [
      node('Mul', [at('levels'), input], [at('values')]),
      node('Reshape', [at('values'), at('shape')], [plain]),
      ...(isTurned ? [turn(plain, weight)] : []),
    ],
    gradients: [
      ...(isTurned ? [turn(slopes, at('slopes'))] : []),
      node('Reshape', [isTurned ? at('slopes') : slopes, at('grouped')], [at('slopes/grouped')]),
      node('Mul', [at('slopes/grouped'), at('levels')], [at('products')]),
      node('ReduceSum', [at('products'), last], [gradient], { attributes: { keepdims: 0n } }),
    ],
    ...{ input, gradient },
  };
}
