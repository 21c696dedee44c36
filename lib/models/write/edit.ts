import { create } from '@bufbuild/protobuf';
import { usedBy, withSubgraphs } from '../onnx/graph';
import { type ModelProto, type NodeProto, OperatorSetIdProtoSchema } from '../onnx/onnx_pb';

/** Puts nodes before another one, in the main graph or the subgraph that holds it. */
export function insertBefore(model: ModelProto, before: NodeProto, nodes: readonly NodeProto[]): void {
  const list = listWith(model, before);
  list.splice(list.indexOf(before), 0, ...nodes);
}

/** Takes a node out of the graph that holds it. */
export function remove(model: ModelProto, unwanted: NodeProto): void {
  const list = listWith(model, unwanted);
  list.splice(list.indexOf(unwanted), 1);
}

function listWith(model: ModelProto, wanted: NodeProto): NodeProto[] {
  for (const { node } of withSubgraphs(model.graph!)) if (node.includes(wanted)) return node;
  throw new Error(`the model has no node "${wanted.name}"`);
}

/**
 * Has nodes that depend on initializers alone, in the main graph, come before the first node that uses `value`, itself or in a
 * subgraph. They are put in, or moved.
 */
export function placeBeforeUses(model: ModelProto, nodes: readonly NodeProto[], value: string): void {
  const all = model.graph!.node;
  for (const own of nodes) if (all.includes(own)) all.splice(all.indexOf(own), 1);
  const first = all.findIndex((other) => other.input.includes(value) || usedBy(other).includes(value));
  all.splice(first < 0 ? all.length : first, 0, ...nodes);
}

/** Has the model import `com.microsoft`, onnxruntime's own operators. */
export function importMicrosoft(model: ModelProto): void {
  if (!model.opsetImport.some(({ domain }) => domain === 'com.microsoft'))
    model.opsetImport.push(create(OperatorSetIdProtoSchema, { domain: 'com.microsoft', version: 1n }));
}
