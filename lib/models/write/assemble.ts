import type { Replacement } from '../traversal/traversal';
import { Graph } from '../onnx/graph';
import type { ModelProto, NodeProto } from '../onnx/onnx_pb';
import type { Names } from './names';

/** Puts quantized weights into a model, which is changed. Nothing else in it changes. */
export function assemble(model: ModelProto, replacements: readonly Replacement[], names: Names): void {
  for (const { layer, stored, activationRank } of replacements)
    stored.wire(layer, { model, names, activationRank });
  dropUnused(model, replacements);
  const { initializer } = model.graph!;
  const there = new Set(initializer);
  for (const stored of new Set(replacements.map((replacement) => replacement.stored)))
    initializer.push(...stored.tensors.filter((tensor) => !there.has(tensor)));
}

/** Takes out the float weights that nothing uses any more, the nodes they went through, and what is said about either. */
function dropUnused(model: ModelProto, replacements: readonly Replacement[]): void {
  const graph = new Graph(model, 'the model');
  const steps = new Set(replacements.flatMap(({ layer }) => layer.constant.chain));
  const weights = new Set(replacements.map(({ layer }) => layer.constant.tensor));
  // From the layer's end of the way to the weight's, for each step frees the one before.
  const freed = new Map<string, number>();
  const isFree = (name: string) => graph.usesOf(name) === (freed.get(name) ?? 0);
  const pending = [...steps];
  const gone = new Set<string>();
  const unwanted = new Set<NodeProto>();
  const dropConstant = (name: string) => {
    const before = graph.producerOf(name);
    if (before?.opType === 'Constant') unwanted.add(before);
    if (before?.opType === 'Constant' || graph.initializer(name)) gone.add(name);
  };
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
    // The form that a Reshape gave it.
    for (const name of step.input.slice(1)) if (isFree(name)) dropConstant(name);
  }
  for (const weight of weights)
    if (graph.initializer(weight.name) === weight && isFree(weight.name)) gone.add(weight.name);
  graph.proto.node = graph.proto.node.filter((node) => !unwanted.has(node));
  graph.proto.initializer = graph.proto.initializer.filter((kept) => !gone.has(kept.name));
  for (const list of ['input', 'valueInfo'] as const)
    graph.proto[list] = graph.proto[list].filter(({ name }) => !gone.has(name));
}
