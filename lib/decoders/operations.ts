import { type AttributeValue, node, tensor } from '../containers/onnx/make';
import type { NodeProto, TensorProto } from '../containers/onnx/onnx_pb';

/** Collects a graph's nodes and small constants. A value is known by its name. */
export class Operations {
  readonly nodes: NodeProto[] = [];
  readonly constants = new Map<string, TensorProto>();
  private readonly taken = new Set<string>();

  /** A node, called `name` or like it; gives the name of its output. */
  add(
    opType: string,
    name: string,
    inputs: string[],
    attributes: Record<string, AttributeValue> = {},
  ): string {
    return this.addSeveral(opType, name, inputs, 1, attributes)[0]!;
  }

  addSeveral(
    opType: string,
    name: string,
    inputs: string[],
    outputs: number,
    attributes: Record<string, AttributeValue> = {},
  ): string[] {
    const own = this.unique(name);
    const names = Array.from({ length: outputs }, (_, i) => (i === 0 ? own : `${own}:${i}`));
    this.nodes.push(node(opType, inputs, names, { name: own, attributes }));
    return names;
  }

  scalar(value: number): string {
    return this.floats(`scalar ${value}`, [], Float32Array.of(value));
  }

  floats(name: string, shape: readonly number[], values: Float32Array): string {
    if (!this.constants.has(name)) this.constants.set(name, tensor(name, shape, values));
    return name;
  }

  /** A list of int64: a shape, axes, sizes. */
  integers(values: readonly number[]): string {
    const name = `integers ${values.join(' ')}`;
    if (!this.constants.has(name))
      this.constants.set(name, tensor(name, [values.length], BigInt64Array.from(values, BigInt)));
    return name;
  }

  integer(value: number): string {
    const name = `integer ${value}`;
    if (!this.constants.has(name))
      this.constants.set(name, tensor(name, [], BigInt64Array.of(BigInt(value))));
    return name;
  }

  reshape(name: string, value: string, shape: readonly number[]): string {
    return this.add('Reshape', name, [value, this.integers(shape)]);
  }

  transpose(name: string, value: string, order: readonly number[]): string {
    return this.add('Transpose', name, [value], { perm: order.map(BigInt) });
  }

  /** Parts of the last axis. */
  split(name: string, value: string, sizes: readonly number[]): string[] {
    return this.addSeveral('Split', name, [value, this.integers(sizes)], sizes.length, { axis: -1n });
  }

  /** The value times a number; itself for 1. */
  scaled(name: string, value: string, by: number): string {
    return by === 1 ? value : this.add('Mul', name, [value, this.scalar(by)]);
  }

  /** c·tanh(x/c); x itself where c is null. */
  softCapped(name: string, value: string, cap: number | null): string {
    if (cap === null) return value;
    const bounded = this.add('Tanh', `${name}/tanh`, [this.scaled(`${name}/divided`, value, 1 / cap)]);
    return this.scaled(`${name}/capped`, bounded, cap);
  }

  private unique(name: string): string {
    let own = name;
    for (let count = 2; this.taken.has(own); count++) own = `${name}#${count}`;
    this.taken.add(own);
    return own;
  }
}
