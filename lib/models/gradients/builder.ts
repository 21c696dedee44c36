import { type AttributeValue, node, tensor } from '../../containers/onnx/make';
import { shallowCopy } from '../../containers/onnx/shallow-copy';
import {
  TensorProto_DataType as DataType,
  type NodeProto,
  type TensorProto,
} from '../../containers/onnx/onnx_pb';
import { type Dim, product, quotient } from './dims';
import type { Known } from './known';
import { type Shape, Shapes } from './shapes';

/** A value by its name, or a number of the type of the value beside it. */
export type Operand = string | number;

/**
 * Emits nodes and constants. The same operator of the same values is emitted once, so that a rule may ask for it wherever it needs it.
 * All that is emitted means the same in versions 16 and later of the standard operators.
 */
export class Builder {
  private readonly nodes: NodeProto[] = [];
  private readonly constants = new Map<string, TensorProto>();
  private readonly made = new Map<string, string[]>();
  private readonly types = new Map<string, number>();

  private readonly shapes: Shapes;

  /** `prefix` begins every new name. */
  constructor(
    private readonly known: Known,
    private readonly prefix: string,
  ) {
    this.shapes = new Shapes(known.graph, known.shapes);
  }

  /** What has been emitted, as far as `values` depend on it. */
  needed(values: readonly string[]): { nodes: NodeProto[]; constants: TensorProto[] } {
    const used = new Set(values);
    const nodes = [...this.nodes].reverse().filter(({ input, output }) => {
      if (!output.some((name) => used.has(name))) return false;
      for (const name of input) used.add(name);
      return true;
    });
    return {
      nodes: nodes.reverse(),
      constants: [...this.constants.values()].filter(({ name }) => used.has(name)),
    };
  }

  typeOf(name: string): number {
    return this.types.get(name) ?? this.known.typeOf(name);
  }

  /** Dimensions of a value as far as they are known. */
  dimsOf(name: string): Shape | undefined {
    return this.shapes.shapeOf(name);
  }

  rankOf(name: string): number | undefined {
    return this.dimsOf(name)?.length;
  }

  /** The numbers of a list of integers, where they are known. */
  integersOf(name: string): number[] | undefined {
    return numbersOf(this.shapes.listOf(name));
  }

  /** An input of the gradient's own, the cotangent of a value. */
  input(value: string): string {
    const own = `${this.prefix}cotangent/${value}`;
    this.types.set(own, this.typeOf(value));
    const dims = this.dimsOf(value);
    if (dims) this.shapes.set(own, dims);
    return own;
  }

  /** A node with one output, of the type of its first input unless `type` says another. */
  op(
    operator: string,
    inputs: readonly string[],
    attributes: Record<string, AttributeValue> = {},
    type?: number,
  ): string {
    return this.several(operator, inputs, 1, attributes, type)[0]!;
  }

  /** The same with several outputs of one type. */
  several(
    operator: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Record<string, AttributeValue> = {},
    type = this.typeOf(inputs[0]!),
  ): string[] {
    const [domain, opType] = operator.includes('.')
      ? [operator.replace(/\.[^.]*$/, ''), operator.replace(/^.*\./, '')]
      : ['', operator];
    const key = JSON.stringify([operator, inputs, outputs, attributes], (_, value: unknown) =>
      typeof value === 'bigint' ? `${value}n` : value,
    );
    const before = this.made.get(key);
    if (before) return before;
    const at = `${this.prefix}${this.nodes.length}/${opType}`;
    const names = Array.from({ length: outputs }, (_, i) => (i === 0 ? at : `${at}:${i}`));
    for (const name of names) this.types.set(name, type);
    const made = node(opType, [...inputs], names, { name: at, attributes, ...(domain ? { domain } : {}) });
    this.nodes.push(made);
    this.shapes.add(made);
    this.made.set(key, names);
    return names;
  }

  /** The operator of a node, with its attributes, of other values: its last output, if it has several. */
  again(of: NodeProto, inputs: readonly string[], type: number, outputs = 1): string {
    const at = `${this.prefix}${this.nodes.length}/${of.opType}`;
    const names = Array.from({ length: outputs }, (_, i) => (i === outputs - 1 ? at : `${at}:${i}`));
    const made = shallowCopy(of);
    Object.assign(made, { name: at, input: [...inputs], output: names });
    this.nodes.push(made);
    this.types.set(at, type);
    this.shapes.add(made);
    return at;
  }

  /** A list of int64: a shape, axes, sizes. */
  integers(values: readonly number[]): string {
    return this.constant(
      `integers ${values.join(' ')}`,
      DataType.INT64,
      [values.length],
      (name) => tensor(name, [values.length], BigInt64Array.from(values, BigInt)),
      values,
    );
  }

  integer(value: number): string {
    return this.constant(
      `integer ${value}`,
      DataType.INT64,
      [],
      (name) => tensor(name, [], BigInt64Array.of(BigInt(value))),
      [value],
    );
  }

  /** A number of the type of the value `like`. */
  scalar(value: number, like: string): string {
    const type = this.typeOf(like);
    if (type === DataType.DOUBLE)
      return this.constant(`double ${value}`, type, [], (name) => tensor(name, [], Float64Array.of(value)));
    const float = this.constant(`float ${value}`, DataType.FLOAT, [], (name) =>
      tensor(name, [], Float32Array.of(value)),
    );
    return this.cast(float, type);
  }

  private constant(
    what: string,
    type: number,
    dims: readonly number[],
    make: (name: string) => TensorProto,
    list?: readonly number[],
  ): string {
    const name = `${this.prefix}${what}`;
    if (this.constants.has(name)) return name;
    this.constants.set(name, make(name));
    this.types.set(name, type);
    this.shapes.set(name, dims, list);
    return name;
  }

  neg = (value: string) => this.op('Neg', [value]);

  private pair(opType: string, a: Operand, b: Operand, type?: number): string {
    const [left, right] = [
      typeof a === 'number' ? this.scalar(a, b as string) : a,
      typeof b === 'number' ? this.scalar(b, a as string) : b,
    ];
    return this.op(opType, [left, right], {}, type);
  }

  // One operand at least is a value.
  add = (a: Operand, b: Operand) => this.pair('Add', a, b);
  sub = (a: Operand, b: Operand) => this.pair('Sub', a, b);
  mul = (a: Operand, b: Operand) => (a === 1 ? `${b}` : b === 1 ? `${a}` : this.pair('Mul', a, b));
  div = (a: Operand, b: Operand) => this.pair('Div', a, b);
  pow = (a: Operand, b: Operand) => this.pair('Pow', a, b);
  equal = (a: Operand, b: Operand) => this.pair('Equal', a, b, DataType.BOOL);
  less = (a: Operand, b: Operand) => this.pair('Less', a, b, DataType.BOOL);
  atMost = (a: Operand, b: Operand) => this.pair('LessOrEqual', a, b, DataType.BOOL);

  /** `one` where the condition holds, `other` elsewhere. */
  where(condition: string, one: Operand, other: Operand): string {
    const like = typeof one === 'string' ? one : (other as string);
    const [a, b] = [one, other].map((value) =>
      typeof value === 'number' ? this.scalar(value, like) : value,
    ) as [string, string];
    return this.op('Where', [condition, a, b], {}, this.typeOf(like));
  }

  /** 1 where the condition holds, else 0, in the type of `like`. */
  indicator = (condition: string, like: string) => this.cast(condition, this.typeOf(like));

  cast(value: string, type: number): string {
    return this.typeOf(value) === type ? value : this.op('Cast', [value], { to: BigInt(type) }, type);
  }

  // Shapes

  /** As a list of int64. */
  shapeOf(value: string): string {
    const dims = numbersOf(this.dimsOf(value));
    return dims ? this.integers(dims) : this.op('Shape', [value], {}, DataType.INT64);
  }

  reshape = (value: string, shape: readonly number[]) => this.op('Reshape', [value, this.integers(shape)]);

  /** In the shape of `like`, which has as many entries. */
  reshapeLike = (value: string, like: string) =>
    this.op('Reshape', [value, this.shapeOf(like)], { allowzero: 1n });

  /** Repeated to the shape of `like`. */
  expandLike = (value: string, like: string) => this.op('Expand', [value, this.shapeOf(like)]);

  /** A tensor of one number, of the type of `like`. */
  filled = (value: number, dims: readonly number[], like: string) =>
    this.op('Expand', [this.scalar(value, like), this.integers(dims)]);

  zerosLike = (like: string) => this.expandLike(this.scalar(0, like), like);

  /** As one list. */
  flat = (value: string) => this.reshape(value, [-1]);

  unsqueeze = (value: string, axes: readonly number[]) => this.op('Unsqueeze', [value, this.integers(axes)]);

  squeeze = (value: string, axes: readonly number[]) => this.op('Squeeze', [value, this.integers(axes)]);

  transpose = (value: string, order: readonly number[]) =>
    this.op('Transpose', [value], { perm: order.map(BigInt) });

  /** With its last two dimensions exchanged. */
  swapped(value: string): string {
    const rank = this.rankOf(value);
    if (rank === undefined) return this.op('Einsum', [value], { equation: '...ij->...ji' });
    return this.transpose(value, [
      ...Array.from({ length: rank - 2 }, (_, axis) => axis),
      rank - 1,
      rank - 2,
    ]);
  }

  /** Summed over axes; all of them without `axes`. */
  sum(value: string, axes: readonly number[] | undefined, keep = true): string {
    return this.op('ReduceSum', axes ? [value, this.integers(axes)] : [value], { keepdims: keep ? 1n : 0n });
  }

  /** The same numbers under a new name. */
  copy(value: string): string {
    const own = `${this.prefix}copy ${this.nodes.length}`;
    this.nodes.push(node('Identity', [value], [own]));
    return own;
  }

  /** The mean over axes, which stay with length 1. */
  mean = (value: string, axes: readonly number[] | undefined) => {
    const sum = this.sum(value, axes);
    return this.overCount(sum, value, sum);
  };

  /** A value divided by how many times more entries `all` has than `one`. */
  overCount(value: string, all: string, one: string): string {
    const sizes = [all, one].map((name) => this.dimsOf(name));
    const count = sizes[0] && sizes[1] && quotient(product(sizes[0]), product(sizes[1]));
    return typeof count === 'number'
      ? this.mul(value, 1 / count)
      : this.div(value, this.ratioOfSizes(all, one));
  }

  /** How long a value is along an axis, as a list of one. */
  lengthOf(value: string, axis: number): string {
    const dim = this.dimsOf(value)?.at(axis);
    return typeof dim === 'number'
      ? this.integers([dim])
      : this.op('Gather', [this.shapeOf(value), this.integers([axis])]);
  }

  /** Lists behind each other. */
  joined(...lists: string[]): string {
    const numbers = lists.map((list) => this.integersOf(list));
    return numbers.every((known) => known !== undefined)
      ? this.integers(numbers.flat())
      : this.op('Concat', lists, { axis: 0n });
  }

  private ratioOfSizes(all: string, one: string): string {
    const [more, less] = [all, one].map((value) => {
      const size = this.op('Size', [value], {}, DataType.INT64);
      return this.cast(size, this.typeOf(all));
    }) as [string, string];
    return this.div(more, less);
  }

  /** Undoes the repetition of `input` to the shape of `output`: sums `value`, which has that shape, over what was repeated. */
  reducedTo(input: string, output: string, value: string): string {
    const known = repeatedAxes(this.dimsOf(input), this.dimsOf(output));
    if (known) {
      const { axes, before } = known;
      const summed = axes.length === 0 ? value : this.sum(value, axes);
      return before === 0 ? summed : this.squeeze(summed, axes.slice(0, before));
    }
    const [own, whole] = [this.shapeOf(input), this.shapeOf(output)];
    const lengthOf = (shape: string) => this.op('Shape', [shape], {}, DataType.INT64);
    const ones = this.op('ConstantOfShape', [this.sub(lengthOf(whole), lengthOf(own))], {
      value: tensor('', [1], BigInt64Array.of(1n)),
    });
    const aligned = this.op('Concat', [ones, own], { axis: 0n });
    const differs = this.op('Not', [this.equal(aligned, whole)]);
    const axes = this.op('Squeeze', [this.op('NonZero', [differs], {}, DataType.INT64), this.integers([0])]);
    const summed = this.op('ReduceSum', [value, axes], { keepdims: 1n, noop_with_empty_axes: 1n });
    return this.reshapeLike(summed, input);
  }
}

const numbersOf = (dims: Shape | undefined): number[] | undefined =>
  dims?.every((dim) => typeof dim === 'number') ? (dims as number[]) : undefined;

/** Axes of `whole` that `own` was repeated along, the first `before` of which it does not have; undefined where that is not known. */
function repeatedAxes(
  own: Shape | undefined,
  whole: Shape | undefined,
): { axes: number[]; before: number } | undefined {
  if (!own || !whole) return undefined;
  const before = whole.length - own.length;
  const axes = Array.from({ length: before }, (_, axis) => axis);
  for (const [i, dim] of own.entries()) {
    const other: Dim = whole[before + i]!;
    if (dim === other) continue;
    if (dim === 1) axes.push(before + i);
    // Of a length that may be 1 nothing is known.
    else if (typeof dim === 'string') return undefined;
  }
  return { axes, before };
}
