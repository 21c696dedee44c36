import { describe } from '../../options/messages';
import { attributeOf, isStandard, type Scope, usedBy } from '../../containers/onnx/graph';
import type { NodeProto, TensorProto } from '../../containers/onnx/onnx_pb';

// Constants of a graph and of those that its nodes hold.

/** A graph and those that its nodes hold, each by the outputs of the nodes that hold it. */
export function* scopesOf(scope: Scope, path = ''): Generator<[path: string, scope: Scope]> {
  yield [path, scope];
  for (const [holder, inner] of scope.inner)
    for (const [i, own] of inner.entries()) yield* scopesOf(own, `${path}${holder.output.join()}#${i}/`);
}

const constantOf = (node: NodeProto | undefined): TensorProto | undefined =>
  node?.opType === 'Constant' && isStandard(node) ? attributeOf(node, 'value')?.t : undefined;

/** An initializer, or what a Constant holds, by the name of its value. */
export function storedIn(from: Scope, name: string): TensorProto | undefined {
  const scope = from.scopeOf(name);
  return scope?.initializer(name) ?? constantOf(scope?.producerOf(name));
}

/** All such of a graph itself. */
export function* storedTensors({ proto }: Scope): Generator<[name: string, tensor: TensorProto]> {
  for (const tensor of proto.initializer) yield [tensor.name, tensor];
  for (const node of proto.node) {
    const tensor = constantOf(node);
    if (tensor) yield [node.output[0]!, tensor];
  }
}

/** The nodes and initializers that a value is made of, each node behind those whose outputs it uses. Throws a RangeError where some of it is no constant. */
export function madeOf(from: Scope, name: string): { nodes: NodeProto[]; constants: TensorProto[] } {
  const nodes: NodeProto[] = [];
  const constants = new Set<TensorProto>();
  const seen = new Set<NodeProto>();
  /** What is to be looked at, and nodes whose inputs have been. */
  const pending: ([Scope, string] | NodeProto)[] = [[from, name]];
  for (let next = pending.pop(); next; next = pending.pop()) {
    if (!Array.isArray(next)) {
      nodes.push(next);
      continue;
    }
    const [where, value] = next;
    const scope = where.scopeOf(value);
    const tensor = scope?.initializer(value);
    const node = scope?.producerOf(value);
    if (tensor) constants.add(tensor);
    else if (!scope || !node)
      throw new RangeError(`it is computed from ${describe(value)}, which is no constant`);
    else if (!seen.has(node)) {
      seen.add(node);
      pending.push(node);
      for (const input of usedBy(node)) if (input !== '') pending.push([scope, input]);
    }
  }
  return { nodes, constants: [...constants] };
}

/** All constants that such a value is made of. */
export function constantsOf(scope: Scope, name: string): TensorProto[] {
  const { nodes, constants } = madeOf(scope, name);
  return [...constants, ...nodes.flatMap((node) => constantOf(node) ?? [])];
}
