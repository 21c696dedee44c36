import type { OpenDecoder } from '../decoders/open';
import { VertexqError } from '../errors';
import { partsOf } from '../models/curvature/parts';
import type { GraphStage } from '../models/forward/stages';
import { gradientOf } from '../models/gradients/index';
import { typeOf } from '../models/gradients/types';
import { floatTypes } from '../containers/onnx/element-types';
import { unusedPrefix, usedBy } from '../containers/onnx/graph';
import { tensor } from '../containers/onnx/make';
import type { NodeProto, TensorProto } from '../containers/onnx/onnx_pb';
import { opsetOf } from '../containers/onnx/opset';
import { scaledNodes } from '../models/tuning/scaled-weight';
import { describe } from '../options/messages';

/** A weight whose scales are multiplied with factors: what it is called in the graph, and its scales, [outFeatures, groups]. */
export interface Tunable {
  weight: string;
  shape: readonly [outFeatures: number, inFeatures: number];
  groups: number;
}

/** A part of a decoder between two cuts, with factors of its weights' scales as inputs. */
export interface ScaledPart {
  stage: GraphStage;
  tunables: readonly Tunable[];
}

/** What a part is run as: once forward, once forward and back. */
export interface PartGraph {
  nodes: NodeProto[];
  constants: TensorProto[];
  /** By weight, in the order of the part's: the input that its factors are, and the output that has the derivatives by them. */
  factors: { input: string; dims: [number, number, 1]; gradient: string }[];
  /** By value that the part gives: the input that has its cotangent. */
  cotangents: ReadonlyMap<string, string>;
  /** By value that the part takes: the output that has its cotangent. */
  results: ReadonlyMap<string, string>;
}

/** What the head takes is the last value of a decoder but its logits. */
export const logits = 'logits';

/** A decoder's blocks, and behind them its head, each with the weights that are used there. */
export function scaledParts(
  { graph, ends }: OpenDecoder,
  tunables: ReadonlyMap<string, Tunable>,
): ScaledPart[] {
  return partsOf(graph, [], ends, [logits]).map((stage) => {
    const used = new Set(stage.nodes.flatMap(usedBy));
    return { stage, tunables: [...tunables.values()].filter(({ weight }) => used.has(weight)) };
  });
}

/** The nodes of a part, which compute its weights of their values times the factors. Reads these. */
export async function partGraph(
  opened: OpenDecoder,
  { stage, tunables }: ScaledPart,
  isBack: boolean,
): Promise<PartGraph> {
  const { graph, model, weights } = opened;
  const prefix = unusedPrefix(model.graph!, 'tuning/');
  const wanted = isBack
    ? [
        ...stage.inputs.filter(
          (name) => graph.producerOf(name) !== undefined && floatTypes.has(typeOf(graph, name)),
        ),
        ...tunables.map(({ weight }) => weight),
      ]
    : [];
  const back = gradientOf({
    ...{ graph, opset: opsetOf(model), nodes: stage.nodes, prefix: `${prefix}gradient/` },
    ...{ outputs: isBack ? (stage.kept.length > 0 ? stage.kept : [stage.target]) : [], wanted },
  });
  const [missing] = back.missing;
  if (missing)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${opened.file}: no gradient passes the operator ${missing.operator} (${describe(missing.node)}), which the scales of weights before it are tuned through`,
    );
  const last = `${prefix}last`;
  const constants = [tensor(last, [1], BigInt64Array.of(-1n)), ...back.constants];
  const [before, after]: NodeProto[][] = [[], []];
  const factors: PartGraph['factors'] = [];
  for (const [i, { weight, shape, groups }] of tunables.entries()) {
    const bytes = await weights.raw(graph.initializer(weight)!);
    const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
    const dims = [shape[0], groups, shape[1] / groups] as const;
    const slopes = back.results.get(weight);
    if (isBack && slopes === undefined)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${opened.file}: what the model gives does not depend on the weight ${describe(weight)}`,
      );
    const made = scaledNodes(
      { weight, dims, values, isTurned: false },
      slopes ?? weight,
      (name) => `${prefix}${i}/${name}`,
      last,
    );
    constants.push(...made.constants);
    before!.push(...made.nodes);
    if (isBack) after!.push(...made.gradients);
    factors.push({ input: made.input, dims: [shape[0], groups, 1], gradient: made.gradient });
  }
  return {
    nodes: [...before!, ...stage.nodes, ...back.nodes, ...after!],
    ...{ constants, factors, cotangents: back.cotangents, results: back.results },
  };
}
