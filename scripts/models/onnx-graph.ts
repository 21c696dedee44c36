import { node, tensor, type AttributeValue } from '../../lib/containers/onnx/make';
import type { NodeProto, TensorProto } from '../../lib/containers/onnx/onnx_pb';
import { sameShape, withoutUnits, type Dim, type Shape } from './symbolic-shape';

/**
 * A tensor of the ONNX graph that is being built.
 *
 * `shape` is the shape that the source graph gives it, `stored` the shape that the ONNX tensor really has;
 * the elements and their order are the same. A source graph reshapes back and forth around operations that
 * only see the last axis; where those take the tensor as it is stored, the reshapes never become nodes.
 */
export interface Tensor {
  kind: 'tensor';
  name: string;
  shape: Shape;
  stored: Shape;
}

/** Collects the nodes and initializers of an ONNX graph under readable, unique names. */
export class OnnxGraph {
  readonly nodes: NodeProto[] = [];
  readonly initializers = new Map<string, TensorProto>();
  readonly #names = new Set<string>();
  readonly #stored = new Map<string, Tensor>();

  /**
   * Adds a node named `scope/opType` and returns the names of its outputs; its first output has its name,
   * the next ones `name:1`, `name:2`.
   */
  addNode(
    opType: string,
    scope: string,
    inputs: string[],
    attributes: Record<string, AttributeValue> = {},
    outputCount = 1,
  ): [string, ...string[]] {
    const name = this.#unique(`${scope}/${opType}`);
    const rest = Array.from({ length: outputCount - 1 }, (_, i) => `${name}:${i + 1}`);
    this.nodes.push(node(opType, inputs, [name, ...rest], { name, attributes }));
    return [name, ...rest];
  }

  /** Adds a float32 initializer, once per name. */
  floats(name: string, shape: readonly number[], data: Float32Array): string {
    if (!this.initializers.has(name)) this.initializers.set(name, tensor(name, shape, data));
    return name;
  }

  /** A float32 scalar; equal ones share an initializer. */
  scalar(value: number): string {
    return this.floats(`scalar/${value}`, [], Float32Array.of(value));
  }

  /** An int64 initializer `[values.length]` for a shape, axes or bounds; equal lists share one. */
  integers(values: readonly number[]): string {
    const name = `integers/${values.join(',')}`;
    if (!this.initializers.has(name)) {
      this.initializers.set(name, tensor(name, [values.length], BigInt64Array.from(values, BigInt)));
    }
    return name;
  }

  /** `x` stored in the shape `target`: itself, or through one node that is made once. */
  store(x: Tensor, target: Shape, scope: string): Tensor {
    if (sameShape(x.stored, target)) return x;
    const key = `${x.name} [${target.join()}]`;
    const done = this.#stored.get(key);
    if (done !== undefined) return done;
    const [name] = this.#reshape(x, target, scope);
    const result: Tensor = { ...x, name, stored: target };
    this.#stored.set(key, result);
    return result;
  }

  #reshape(x: Tensor, target: Shape, scope: string): [string, ...string[]] {
    // Only where `x` has no unit axis is it clear which of the target's unit axes are new.
    if (!x.stored.includes(1) && sameShape(withoutUnits(target), x.stored)) {
      const axes = target.flatMap((dim, axis) => (dim === 1 ? [axis] : []));
      // Several nodes may read it, so that it stands under the name of what it is, not under theirs.
      const own = x.name.slice(0, x.name.lastIndexOf('/'));
      return this.addNode('Unsqueeze', own, [x.name, this.integers(axes)]);
    }
    return this.addNode('Reshape', scope, [x.name, this.integers(reshapeTarget(x.stored, target))]);
  }

  /** Gives the tensor `from` the name `to`, as a graph's output has it. */
  rename(from: string, to: string): void {
    for (const { input, output } of this.nodes) {
      for (const names of [input, output]) {
        names.forEach((name, i) => {
          if (name === from) names[i] = to;
        });
      }
    }
  }

  #unique(name: string): string {
    let unique = name;
    for (let i = 1; this.#names.has(unique); i++) unique = `${name}_${i}`;
    this.#names.add(unique);
    return unique;
  }
}

/** The shape input of a Reshape: 0 copies the dimension at that place, -1 stands for what is left. */
function reshapeTarget(from: Shape, target: Shape): number[] {
  const sizes = target.map((dim: Dim, i) => {
    if (typeof dim === 'number') return dim;
    return dim === from[i] ? 0 : -1;
  });
  if (sizes.filter((size) => size === -1).length > 1) {
    throw new RangeError(`a Reshape cannot take [${from}] to [${target}]`);
  }
  return sizes;
}
