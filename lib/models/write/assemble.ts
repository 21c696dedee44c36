import type { DoneLayer } from '../../traversal/sink';
import type { ModelLayer } from '../layers/model-layers';
import { Graph, type Scope } from '../../containers/onnx/graph';
import type { GraphProto, ModelProto, NodeProto } from '../../containers/onnx/onnx_pb';
import { settleInitializers } from '../../containers/onnx/opset';
import { Edits } from './edit';
import type { Names } from './names';
import type { StoredWeight } from './stored-weight';

/** A layer whose nodes compute with a quantized weight from now on. */
export type Replacement = DoneLayer<ModelLayer, StoredWeight>;

/** Puts quantized weights into a model, which is changed. Nothing else in it changes. */
export function assemble(model: ModelProto, replacements: readonly Replacement[], names: Names): void {
  settleInitializers(model);
  const used = new Map<GraphProto, Set<string>>();
  for (const scope of new Graph(model, 'the model').all())
    used.set(
      scope.proto,
      new Set(scope.proto.initializer.map(({ name }) => name).filter((name) => scope.usesOf(name) > 0)),
    );
  const edits = new Edits();
  for (const { layer, stored, activationRank } of replacements)
    stored.wire(layer, { model, names, edits, activationRank });
  edits.apply(model);
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
  used: ReadonlyMap<GraphProto, ReadonlySet<string>>,
): void {
  const graph = new Graph(model, 'the model');
  const places = new Map<NodeProto, Scope>();
  for (const { node, scope } of graph.placed()) places.set(node, scope);
  const steps = new Set<NodeProto>();
  for (const step of replacements.flatMap(({ layer }) => layer.constant.chain)) {
    steps.add(step);
    // The form that a Reshape gives.
    for (const name of step.input.slice(1)) {
      const maker = places.get(step)!.scopeOf(name)?.producerOf(name);
      if (maker?.opType === 'Constant') steps.add(maker);
    }
  }
  // From the layer's end of the way to the weight's, for each step frees the one before.
  const freed = new Map<Scope, Map<string, number>>();
  const gone = new Map<Scope, Set<string>>();
  for (const scope of graph.all()) {
    freed.set(scope, new Map());
    gone.set(scope, new Set());
  }
  const isFree = (scope: Scope, name: string) => scope.usesOf(name) === (freed.get(scope)!.get(name) ?? 0);
  const pending = [...steps];
  const unwanted = new Set<NodeProto>();
  // It grows meanwhile.
  for (const step of pending) {
    const own = places.get(step)!;
    if (!steps.has(step) || !step.output.every((name) => isFree(own, name))) continue;
    steps.delete(step);
    unwanted.add(step);
    for (const name of step.output) gone.get(own)!.add(name);
    for (const name of step.input) {
      const scope = own.scopeOf(name);
      if (!scope) continue;
      const counts = freed.get(scope)!;
      counts.set(name, (counts.get(name) ?? 0) + 1);
      const before = scope.producerOf(name);
      if (before) pending.push(before);
    }
  }
  for (const [scope, names] of gone) {
    const { proto } = scope;
    for (const { name } of proto.initializer)
      if (used.get(proto)!.has(name) && isFree(scope, name)) names.add(name);
    if (names.size === 0) continue;
    proto.node = proto.node.filter((node) => !unwanted.has(node));
    proto.initializer = proto.initializer.filter((kept) => !names.has(kept.name));
    for (const list of ['input', 'valueInfo'] as const)
      proto[list] = proto[list].filter(({ name }) => !names.has(name));
  }
}
