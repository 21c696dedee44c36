import { VertexqError } from '../../errors';
import type { QuantizedLayer } from '../../types';
import { valuesOf } from '../../native/tensors';
import { gradientOf } from '../gradients/index';
import type { GraphStage } from '../forward/stages';
import type { ModelLayer } from '../layers/model-layers';
import { node, tensor } from '../../containers/onnx/make';
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';
import { opsetOf } from '../../containers/onnx/opset';
import type { OpenModel } from '../open-model';
import { scaledNodes } from './scaled-weight';

/** A block as a graph whose scales are inputs. */
export interface BlockGraph {
  /** The block, and the squared error of what it gives. */
  nodes: NodeProto[];
  /** What computes the gradients by the scales from all of that. */
  gradients: NodeProto[];
  constants: TensorProto[];
  /** What the block should give, and how much each of its rows counts. */
  target: string;
  rows: string;
  /** Each row's share of the error. */
  error: string;
  scales: { input: string; dims: [number, number, 1]; gradient: string }[];
}

/** Whether the scales of a layer can be tuned: one for each of equally long groups of a matrix, of float32 numbers or what they round to. */
export function isTunable({ constant, groups, settings, inFeatures, routed, follows }: ModelLayer): boolean {
  const isMatrix = constant.dims.length === 2 && groups === 1 && constant.dataType === Number(DataType.FLOAT);
  const isPlain = settings.blockType === undefined && settings.grid !== 'float-minimum';
  return isMatrix && isPlain && inFeatures % settings.groupSize === 0 && !routed && !follows;
}

/**
 * What a block computes with weights in few bits, value = level · scale, and half the derivatives of Σ weight · ‖y − target‖² over its rows by the scales. The levels are constants: what
 * is passed on from step to step are scales alone. Throws ERR_VERTEXQ_UNSUPPORTED where no gradient reaches a layer.
 */
export async function blockGraph(
  { graph, model }: OpenModel,
  stage: GraphStage<ModelLayer>,
  layers: readonly { layer: ModelLayer; quantized: QuantizedLayer }[],
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<BlockGraph> {
  const at = (name: string) => `${prefix}tuning/${name}`;
  const [target, rows, error] = [at('target'), at('rows'), at('error')];
  const weights = layers.map(({ layer }) => layer.node.input[layer.weightIndex]!);
  const own = new Set(weights);
  const nodes = stage.nodes.filter(({ output }) => !output.some((name) => own.has(name)));
  const {
    nodes: back,
    constants: others,
    cotangents,
    results,
    missing,
  } = gradientOf({
    ...{ graph, opset: opsetOf(model), nodes, outputs: [stage.target], wanted: weights },
    prefix: at('gradient/'),
  });
  if (missing[0] || results.size < own.size)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `no gradient reaches all layers of the block that ends with "${stage.target}"${missing[0] ? `: the operator ${missing[0].operator} (${missing[0].node}) lets none pass` : ''}. Turn "tuning" off ("none")`,
    );
  const constants = [tensor(at('last'), [1], BigInt64Array.of(-1n)), ...others];
  const made: NodeProto[] = [];
  const gradients = [...back];
  const scales: BlockGraph['scales'] = [];
  for (const [i, { layer, quantized }] of layers.entries()) {
    const { outFeatures, inFeatures, order } = layer;
    const groups = inFeatures / quantized.groupSize;
    const values = await valuesOf({ ...quantized, scales: quantized.scales.map(() => 1) }, signal);
    const weight = weights[i]!;
    const scaled = scaledNodes(
      {
        ...{ weight, dims: [outFeatures, groups, quantized.groupSize], values },
        isTurned: order === 'input-major',
      },
      results.get(weight)!,
      (name) => at(`${i}/${name}`),
      at('last'),
    );
    constants.push(...scaled.constants);
    made.push(...scaled.nodes);
    gradients.push(...scaled.gradients);
    scales.push({ input: scaled.input, dims: [outFeatures, groups, 1], gradient: scaled.gradient });
  }
  const cotangent = cotangents.get(stage.target)!;
  const judged = [
    node('Sub', [stage.target, target], [at('difference')]),
    node('Mul', [at('difference'), rows], [cotangent]),
    node('Mul', [at('difference'), cotangent], [at('squares')]),
    node('ReduceSum', [at('squares'), at('last')], [error], { attributes: { keepdims: 0n } }),
  ];
  return { nodes: [...made, ...nodes, ...judged], gradients, constants, target, rows, error, scales };
}
