import { type AttributeValue, node, tensor } from '../onnx/make';
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from '../onnx/onnx_pb';
import type { Known } from './rule';

/** A value by its name, or a number of the type of the value beside it. */
export type Operand = string | number;

/**
 * Emits nodes and constants. The same operator of the same values is emitted once, so that a rule may ask for it wherever it needs it.
 * All that is emitted means the same in versions 16 and later of the standard operators.
 */
export class Builder {
  readonly nodes: NodeProto[] = [];
  readonly constants = new Map<string, TensorProto>();
  private readonly made = new Map<string, string[]>();
  private readonly types = new Map<string, number>();

  /** `prefix` begins every new name. */
  constructor(
    private readonly known: Known,
    private readonly prefix: string,
  ) {}

  typeOf(name: string): number {
    return this.types.get(name) ?? this.known.typeOf(name);
  }

  rankOf(name: string): number | undefined {
    return this.known.rankOf(name);
  }

  integersOf(name: string): number[] | undefined {
    return this.known.integers(name);
  }

  /** An input of the gradient's own. */
  input(name: string, type: number): string {
    const own = `${this.prefix}cotangent/${name}`;
    this.types.set(own, type);
    return own;
  }

  /** A node of the standard domain with one output, of the type of its first input unless `type` says another. */
  op(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, AttributeValue> = {},
    type?: number,
  ): string {
    return this.several(opType, inputs, 1, attributes, type)[0]!;
  }

  /** The same with several outputs of one type. */
  several(
    opType: string,
    inputs: readonly string[],
    outputs: number,
    attributes: Record<string, AttributeValue> = {},
    type = this.typeOf(inputs[0]!),
  ): string[] {
    const key = JSON.stringify([opType, inputs, outputs, attributes], (_, value: unknown) =>
      typeof value === 'bigint' ? `${value}n` : value,
    );
    const before = this.made.get(key);
    if (before) return before;
    const at = `${this.prefix}${this.nodes.length}/${opType}`;
    const names = Array.from({ length: outputs }, (_, i) => (i === 0 ? at : `${at}:${i}`));
    for (const name of names) this.types.set(name, type);
    this.nodes.push(node(opType, [...inputs], names, { name: at, attributes }));
    this.made.set(key, names);
    return names;
  }

  /** A list of int64: a shape, axes, sizes. */
  integers(values: readonly number[]): string {
    return this.constant(`integers ${values.join(' ')}`, DataType.INT64, (name) =>
      tensor(name, [values.length], BigInt64Array.from(values, BigInt)),
    );
  }

  integer(value: number): string {
    return this.constant(`integer ${value}`, DataType.INT64, (name) =>
      tensor(name, [], BigInt64Array.of(BigInt(value))),
    );
  }

  /** A number of the type of the value `like`. */
  scalar(value: number, like: string): string {
    const type = this.typeOf(like);
    if (type === DataType.DOUBLE)
      return this.constant(`double ${value}`, type, (name) => tensor(name, [], Float64Array.of(value)));
    const float = this.constant(`float ${value}`, DataType.FLOAT, (name) =>
      tensor(name, [], Float32Array.of(value)),
    );
    return this.cast(float, type);
  }

  private constant(what: string, type: number, make: (name: string) => TensorProto): string {
    const name = `${this.prefix}${what}`;
    if (!this.constants.has(name)) this.constants.set(name, make(name));
    this.types.set(name, type);
    return name;
  }

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

  shapeOf = (value: string) => this.op('Shape', [value], {}, DataType.INT64);

  reshape = (value: string, shape: readonly number[]) => this.op('Reshape', [value, this.integers(shape)]);

  /** In the shape of `like`, which has as many entries. */
  reshapeLike = (value: string, like: string) =>
    this.op('Reshape', [value, this.shapeOf(like)], { allowzero: 1n });

  /** Repeated to the shape of `like`. */
  expandLike = (value: string, like: string) => this.op('Expand', [value, this.shapeOf(like)]);

  zerosLike = (like: string) => this.expandLike(this.scalar(0, like), like);

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

  /** The last number of a list, as a list. */
  lastOf = (list: string) => this.op('Gather', [list, this.integers([-1])]);

  /** The same numbers under a new name. */
  copy(value: string): string {
    const own = `${this.prefix}copy ${this.nodes.length}`;
    this.nodes.push(node('Identity', [value], [own]));
    return own;
  }

  /** How many times more entries `all` has than `one`, as a number of its type. */
  ratioOfSizes(all: string, one: string): string {
    const [more, less] = [all, one].map((value) => {
      const size = this.op('Size', [value], {}, DataType.INT64);
      return this.cast(size, this.typeOf(all));
    }) as [string, string];
    return this.div(more, less);
  }

  /** Undoes the repetition of `input` to the shape of `output`: sums `value`, which has that shape, over what was repeated. */
  reducedTo(input: string, output: string, value: string): string {
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
