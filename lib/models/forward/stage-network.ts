import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { maxMessageBytes } from '../../containers/onnx/codec';
import { typeOfRuntimeName } from '../../containers/onnx/element-types';
import { type Graph, usedBy } from '../../containers/onnx/graph';
import { valueInfo } from '../../containers/onnx/make';
import {
  ValueInfoProtoSchema,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';
import { shallowCopy } from '../../containers/onnx/shallow-copy';
import { modelInMemory } from '../../containers/onnx/serialize';
import type { Weights } from '../../containers/onnx/weights';
import { ThreadedSession } from '../threaded-session';
import { seeded } from './random-operators';

/** A weight to put in place of a node's own. */
export interface Substitute {
  index: number;
  tensor: TensorProto;
}

/** What a stage's network is made of. */
export interface StageParts {
  model: ModelProto;
  graph: Graph;
  weights: Weights;
  nodes: readonly NodeProto[];
  inputs: readonly { name: string; type: string }[];
  outputs: readonly string[];
  /** Initializers that are not the graph's. */
  constants?: readonly TensorProto[];
  /** By node. */
  substitutes: ReadonlyMap<NodeProto, readonly Substitute[]>;
}

/** Loads a part of a network with the weights that it needs. `what` names it in messages. */
export async function loadStage(parts: StageParts, what: string): Promise<ThreadedSession> {
  const bytes = await modelInMemory(stageModel(parts), parts.weights, (length) => {
    if (length > maxMessageBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${what} has weights of ${length} bytes between two layers: this version runs at most 2 GiB at once`,
      );
  });
  return ThreadedSession.load(bytes, what);
}

function stageModel(parts: StageParts): ModelProto {
  const { graph, outputs } = parts;
  const own = new Set(parts.constants);
  const nodes = needed(
    parts.nodes.map((node) => seeded(substituted(node, parts.substitutes, own), graph.placeOf(node))),
    outputs,
  );
  const used = new Set([...nodes.flatMap(usedBy), ...outputs]);
  // A node may make what is a weight of the graph.
  const made = new Set(nodes.flatMap(({ output }) => output));
  const part = shallowCopy(graph.proto);
  part.node = nodes;
  part.initializer = [
    ...own,
    ...[...used].flatMap((name) => (made.has(name) ? [] : (graph.initializer(name) ?? []))),
  ];
  part.input = parts.inputs
    .filter(({ name }) => used.has(name))
    .map(({ name, type }) => valueInfo(name, typeOfRuntimeName(type) ?? 0));
  // The runtime infers their types.
  part.output = outputs.map((name) => create(ValueInfoProtoSchema, { name }));
  part.valueInfo = [];
  // Functions of the model's own, and whatever else the schema does not know, stay.
  const model = shallowCopy(parts.model);
  model.graph = part;
  // What is told of the whole network may be long, and there may be very many parts.
  [model.metadataProps, model.docString, part.docString] = [[], '', ''];
  return model;
}

/** A node with weights put in place of its own, and of those of the nodes that it holds; itself where there are none. */
function substituted(
  node: NodeProto,
  substitutes: StageParts['substitutes'],
  own: Set<TensorProto>,
): NodeProto {
  const attributes = node.attribute.map((given) => {
    if (!given.g) return given;
    const nodes = given.g.node.map((inner) => substituted(inner, substitutes, own));
    if (nodes.every((inner, i) => inner === given.g!.node[i])) return given;
    const [changed, body] = [shallowCopy(given), shallowCopy(given.g)];
    body.node = nodes;
    changed.g = body;
    return changed;
  });
  const direct = substitutes.get(node) ?? [];
  if (direct.length === 0 && attributes.every((made, i) => made === node.attribute[i])) return node;
  const copy = shallowCopy(node);
  copy.attribute = attributes;
  copy.input = [...node.input];
  for (const { index, tensor } of direct) {
    own.add(tensor);
    copy.input[index] = tensor.name;
  }
  return copy;
}

/** Without the way of weights that have been replaced. */
function needed(nodes: readonly NodeProto[], outputs: readonly string[]): NodeProto[] {
  const wanted = new Set(outputs);
  const kept: NodeProto[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.output.some((name) => wanted.has(name))) continue;
    kept.push(node);
    for (const name of usedBy(node)) wanted.add(name);
  }
  return kept.reverse();
}
