import type { Replacement } from '../traversal/traversal';
import { Graph, usedBy } from '../onnx/graph';
import type { ModelProto, NodeProto } from '../onnx/onnx_pb';
import type { Names } from './names';

/** Puts quantized weights into a model, which is changed. Nothing else in it changes. */
export function assemble(model: ModelProto, replacements: readonly Replacement[], names: Names): void {
  const used = new Set([
    ...model.graph!.node.flatMap(usedBy),
    ...model.graph!.output.map(({ name }) => name),
  ]);
  for (const { layer, stored, activationRank } of replacements)
    stored.wire(layer, { model, names, activationRank });
  dropUnused(model, replacements, used);
  const { initializer } = model.graph!;
  const there = new Set(initializer);
  for (const stored of new Set(replacements.map((replacement) => replacement.stored)))
    initializer.push(...stored.tensors.filter((tensor) => !there.has(tensor)));
}

/**
 * Takes out what was `used` and is no more: float weights, the nodes they went through, constants that these or the layers' nodes
 * needed; and what is said about any.
 */
function dropUnused(
  model: ModelProto,
  replacements: readonly Replacement[],
  used: ReadonlySet<string>,
): void {
  const graph = new Graph(model, 'the model');
  const steps = new Set<NodeProto>();
  for (const step of replacements.flatMap(({ layer }) => layer.constant.chain)) {
    steps.add(step);
    // The form that a Reshape gives.
    for (const name of step.input.slice(1)) {
      const maker = graph.producerOf(name);
      if (maker?.opType === 'Constant') steps.add(maker);
    }
  }
  // From the layer's end of the way to the weight's, for each step frees the one before.
  const freed = new Map<string, number>();
  const isFree = (name: string) => graph.usesOf(name) === (freed.get(name) ?? 0);
  const pending = [...steps];
  const gone = new Set<string>();
  const unwanted = new Set<NodeProto>();
  for (let step = pending.shift(); step; step = pending.shift()) {
    if (!steps.has(step) || !step.output.every(isFree)) continue;
    steps.delete(step);
    unwanted.add(step);
    for (const name of step.output) gone.add(name);
    for (const name of step.input) {
      freed.set(name, (freed.get(name) ?? 0) + 1);
      const before = graph.producerOf(name);
      if (before) pending.push(before);
    }
  }
  for (const { name } of graph.proto.initializer) if (used.has(name) && isFree(name)) gone.add(name);
  graph.proto.node = graph.proto.node.filter((node) => !unwanted.has(node));
  graph.proto.initializer = graph.proto.initializer.filter((kept) => !gone.has(kept.name));
  for (const list of ['input', 'valueInfo'] as const)
    graph.proto[list] = graph.proto[list].filter(({ name }) => !gone.has(name));
}
