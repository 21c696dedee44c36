import fc from 'fast-check';
import { node, tensor } from '../../../lib/containers/onnx/make';
import type { ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import { float, network, random, type Parts } from '../networks';

/** A value [batch, channels, length]. */
interface Value {
  name: string;
  channels: number;
  length: number;
}

interface Choice {
  operator: number;
  /** Which values it takes. */
  first: number;
  second: number;
  /** Sizes and forms. */
  form: number;
  isOutput: boolean;
}

export const channels = 4;
export const length = 6;

/** Builds a network one node after the other. */
class Builder {
  readonly nodes: Parts['nodes'] = [];
  readonly constants: Parts['constants'] = [];
  readonly values: Value[] = [{ name: 'x', channels, length }];
  private count = 0;

  pick = (index: number): Value => this.values[index % this.values.length]!;

  weight(dims: number[]): string {
    const name = `w${this.constants.length}`;
    const values = random(
      dims.reduce((a, b) => a * b, 1),
      1 + this.constants.length,
    );
    this.constants.push(
      tensor(
        name,
        dims,
        values.map((value) => value / 2),
      ),
    );
    return name;
  }

  integers(...values: number[]): string {
    const name = `i${this.constants.length}`;
    this.constants.push(tensor(name, [values.length], BigInt64Array.from(values, BigInt)));
    return name;
  }

  add(
    opType: string,
    inputs: string[],
    [channelsOut, lengthOut]: [number, number],
    attributes: Parameters<typeof node>[3] = {},
  ): string {
    const name = `v${++this.count}`;
    this.nodes.push(node(opType, inputs, [name], attributes));
    this.values.push({ name, channels: channelsOut, length: lengthOut });
    return name;
  }

  /** A value of other rank or type. */
  aside(opType: string, inputs: string[], attributes: Parameters<typeof node>[3] = {}): string {
    const name = `s${++this.count}`;
    this.nodes.push(node(opType, inputs, [name], attributes));
    return name;
  }
}

type Operator = (builder: Builder, choice: Choice) => void;

const operators: Operator[] = [
  // Each of its lines, times a matrix.
  (builder, { first, form }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const out = 3 + (form % 5);
    builder.add('MatMul', [name, builder.weight([l, out])], [c, out]);
  },
  (builder, { first, form }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const out = 2 + 2 * (form % 3);
    builder.add('MatMul', [builder.weight([out, c]), name], [out, l]);
  },
  (builder, { first, form }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const group = form % 2 === 0 ? 1 : c;
    const shape = [2 * group, c / group, 3];
    builder.add('Conv', [name, builder.weight(shape)], [2 * group, l], {
      attributes: { pads: form % 3 === 0 ? [2n, 0n] : [1n, 1n], group: BigInt(group) },
    });
  },
  (builder, { first, second }) => {
    const a = builder.pick(first);
    const alike = builder.values.filter(
      (value) => value.channels === a.channels && value.length === a.length,
    );
    builder.add('Add', [a.name, alike[second % alike.length]!.name], [a.channels, a.length]);
  },
  (builder, { first, form }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    builder.add(['Relu', 'Tanh', 'Identity'][form % 3]!, [name], [c, l]);
  },
  (builder, { first, second }) => {
    const a = builder.pick(first);
    const alike = builder.values.filter((value) => value.length === a.length);
    const b = alike[second % alike.length]!;
    builder.add('Concat', [a.name, b.name], [a.channels + b.channels, a.length], {
      attributes: { axis: 1n },
    });
  },
  (builder, { first }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const half = Math.ceil(c / 2);
    const sizes = builder.integers(half, c - half);
    const outputs = [half, c - half].map((part) => {
      const output = `p${builder.nodes.length}.${builder.values.length}`;
      builder.values.push({ name: output, channels: part, length: l });
      return output;
    });
    builder.nodes.push(node('Split', [name, sizes], outputs, { attributes: { axis: 1n } }));
  },
  // Through a shape that the data tells.
  (builder, { first }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const shape = builder.aside('Shape', [name]);
    const flat = builder.aside('Reshape', [name, builder.integers(-1)]);
    const same = builder.aside('Gather', [shape, builder.integers(0, 1, 2)]);
    builder.add('Reshape', [flat, same], [c, l]);
  },
  // A constant that nodes make.
  (builder, { first }) => {
    const { name, channels: c, length: l } = builder.pick(first);
    const made = builder.aside('Tanh', [builder.weight([c, l])]);
    builder.add('Add', [name, made], [c, l]);
  },
];

/** Networks with the input x, [batch, 4, 6], and outputs of any shape. The last layers are made where chance made none. */
export const networks: fc.Arbitrary<ModelProto> = fc
  .array(
    fc.record({
      operator: fc.nat(operators.length - 1),
      first: fc.nat(20),
      second: fc.nat(20),
      form: fc.nat(29),
      isOutput: fc.boolean(),
    }),
    { minLength: 4, maxLength: 14 },
  )
  .map((choices) => {
    const builder = new Builder();
    const outputs = new Set<string>();
    const products = [0, 2].map((operator) => ({ operator, first: 19, second: 0, form: 1, isOutput: true }));
    for (const choice of [...choices, ...products]) {
      // A single channel cannot be split.
      if (choice.operator === 6 && builder.pick(choice.first).channels < 2) continue;
      operators[choice.operator]!(builder, choice);
      if (choice.isOutput) outputs.add(builder.values.at(-1)!.name);
    }
    const { nodes, constants } = builder;
    return network({
      nodes,
      constants,
      inputs: [float('x', ['batch', channels, length])],
      outputs: [...outputs].map((name) => float(name)),
    });
  });
