import { create } from '@bufbuild/protobuf';
import { attributeOf, intAttribute, intsAttribute, isStandard } from './nodes';
import {
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  type NodeProto,
  type TensorProto,
} from './onnx_pb';
import { dimsOf } from './tensor';
import type { FloatArray } from '../../types';
import { inParts } from '../../yielding';

// Weights that a network computes from constants (weight norm, fused projections, gates in another order) are computed here when they are
// needed: what comes out is known, and small, before anything is.

/** Where the numbers of constants are. */
interface Stored {
  floats(tensor: TensorProto, signal?: AbortSignal): Promise<FloatArray>;
}

/** What is asked of a graph. */
interface Names {
  /** The graph whose value this name is. */
  scopeOf(name: string): Names | undefined;
  producerOf(name: string): NodeProto | undefined;
  initializer(name: string): TensorProto | undefined;
  integers(name: string): number[] | undefined;
}

/** A value that depends on float32 constants alone. */
interface Value {
  dims: readonly number[];
  values: (weights: Stored, signal?: AbortSignal) => Promise<Float32Array>;
}

/** A constant that is computed, as a tensor without data. */
export interface Folded {
  tensor: TensorProto;
  /** What it is computed from, and by. */
  sources: readonly TensorProto[];
  nodes: NodeProto[];
}

interface Recipe {
  sources: readonly TensorProto[];
  values: Value['values'];
}

const recipes = new WeakMap<TensorProto, Recipe>();
/** By their first source and by how they are made of it. */
const made = new WeakMap<TensorProto, Map<string, TensorProto>>();

const ids = new WeakMap<TensorProto, string>();
let lastId = 0;

function idOf(tensor: TensorProto): string {
  const id = ids.get(tensor) ?? `#${++lastId}`;
  ids.set(tensor, id);
  return id;
}

/** How a tensor that `folded` made is computed; undefined for others. */
export const recipeOf = (tensor: TensorProto): Recipe | undefined => recipes.get(tensor);

/** Nodes that are followed: a value may be used by several, and all again by several. */
const mostNodes = 64;
/** Numbers that a value has at most, besides twice as many as there are in what it is computed from. */
const mostBesides = 4096;

/** The value of this name, one of `scope`, if it is computed from float32 constants by operators that are known here. */
export function folded(scope: Names, name: string): Folded | undefined {
  const folding = new Folding();
  const value = folding.value(scope, name);
  if (!value) return undefined;
  const sources = [...folding.sources];
  // The same steps in two branches give one weight.
  const [first] = sources as [TensorProto];
  const alike = made.get(first) ?? new Map<string, TensorProto>();
  made.set(first, alike);
  const key = folding.keys.join(' ');
  const before = alike.get(key);
  if (before) return { tensor: before, sources, nodes: [...folding.nodes] };
  const tensor = create(TensorProtoSchema, { name, dims: value.dims.map(BigInt), dataType: DataType.FLOAT });
  alike.set(key, tensor);
  recipes.set(tensor, { sources, values: value.values });
  return { tensor, sources, nodes: [...folding.nodes] };
}

class Folding {
  readonly sources = new Set<TensorProto>();
  readonly nodes = new Set<NodeProto>();
  /** What was done, in order. */
  readonly keys: string[] = [];
  private visited = 0;

  value(from: Names, name: string): Value | undefined {
    const scope = from.scopeOf(name);
    if (!scope || ++this.visited > mostNodes) return undefined;
    const node = scope.producerOf(name);
    const stored =
      scope.initializer(name) ??
      (node?.opType === 'Constant' && isStandard(node) ? attributeOf(node, 'value')?.t : undefined);
    if (stored && stored.dataType !== DataType.FLOAT) return undefined;
    if (node) this.nodes.add(node);
    if (stored) {
      this.sources.add(stored);
      this.keys.push(idOf(stored));
      this.sources.add(stored);
      return {
        dims: dimsOf(stored),
        values: async (weights, signal) => (await weights.floats(stored, signal)) as Float32Array,
      };
    }
    if (!node || !isStandard(node) || !Object.hasOwn(operators, node.opType)) return undefined;
    const steps = node.attribute.map(({ name: called, i, f, ints }) => `${called}=${i},${f},${ints.join()}`);
    const forms = node.input.slice(operands(node)).map((input) => (input ? scope.integers(input) : []));
    this.keys.push(
      JSON.stringify([
        node.opType,
        steps,
        forms,
        node.input.length,
        node.output.indexOf(name),
        node.output.length,
      ]),
    );
    const inputs: Value[] = [];
    for (const input of node.input.slice(0, operands(node))) {
      const value = this.value(scope, input);
      if (!value) return undefined;
      inputs.push(value);
    }
    const made = operators[node.opType]!(
      node,
      inputs,
      (at) => integersOf(scope, node, at),
      node.output.indexOf(name),
    );
    const room = 2 * [...this.sources].reduce((sum, source) => sum + count(dimsOf(source)), 0) + mostBesides;
    return made && made.dims.every((dim) => Number.isSafeInteger(dim) && dim > 0) && count(made.dims) <= room
      ? made
      : undefined;
  }
}

/** How many of a node's inputs are numbers: the others say how. */
function operands({ opType, input }: NodeProto): number {
  if (opType === 'Concat') return input.length;
  return Object.hasOwn(arithmetic, opType) ? 2 : 1;
}

type Integers = (at: number) => number[] | undefined;
type Operator = (
  node: NodeProto,
  inputs: readonly Value[],
  integers: Integers,
  output: number,
) => Value | undefined;

/** Integers that are an input, or in older versions an attribute; undefined where they are neither. */
function integersOf(scope: Names, node: NodeProto, at: number): number[] | undefined {
  return node.input[at] ? scope.integers(node.input[at]) : undefined;
}

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);
const stridesOf = (dims: readonly number[]) => dims.map((_, i) => count(dims.slice(i + 1)));

/** Axes from 0, or undefined where one is not there. */
function axesOf(axes: readonly number[], rank: number): number[] | undefined {
  const found = axes.map((axis) => (axis < 0 ? axis + rank : axis));
  return found.every((axis) => Number.isInteger(axis) && axis >= 0 && axis < rank) ? found : undefined;
}

/** For each element of `dims` in order, the place that strides lead to. */
async function walk(
  dims: readonly number[],
  strides: readonly number[],
  visit: (place: number, i: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  const at = dims.map(() => 0);
  let place = 0;
  const part = (begin: number, end: number) => {
    for (let i = begin; i < end; i++) {
      visit(place, i);
      for (let axis = dims.length - 1; axis >= 0; axis--) {
        place += strides[axis]!;
        if (++at[axis]! < dims[axis]!) break;
        place -= strides[axis]! * dims[axis]!;
        at[axis] = 0;
      }
    }
  };
  await inParts(count(dims), part, signal);
}

/** A view of another value's numbers. */
function viewed(of: Value, dims: readonly number[], strides: readonly number[], offset = 0): Value {
  return {
    dims,
    values: async (weights, signal) => {
      const [from, to] = [await of.values(weights, signal), new Float32Array(count(dims))];
      await walk(dims, strides, (place, i) => (to[i] = from[offset + place]!), signal);
      return to;
    },
  };
}

/** Changes numbers where they are. */
async function mapped(
  values: Float32Array,
  compute: (value: number, i: number) => number,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const part = (begin: number, end: number) => {
    for (let i = begin; i < end; i++) values[i] = compute(values[i]!, i);
  };
  await inParts(values.length, part, signal);
  return values;
}

const reshaped = (of: Value, dims: readonly number[]): Value | undefined =>
  count(dims) === count(of.dims) ? { dims, values: of.values } : undefined;

const arithmetic: Record<string, (a: number, b: number) => number> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Div: (a, b) => a / b,
};

const binary =
  (compute: (a: number, b: number) => number): Operator =>
  (_, [a, b]) => {
    const rank = Math.max(a!.dims.length, b!.dims.length);
    const [left, right] = [a!, b!].map(({ dims }) => [
      ...new Array<number>(rank - dims.length).fill(1),
      ...dims,
    ]) as [number[], number[]];
    const dims = left.map((dim, i) => Math.max(dim, right[i]!));
    const fits = (own: number[]) => own.every((dim, i) => dim === 1 || dim === dims[i]);
    if (!fits(left) || !fits(right)) return undefined;
    const spread = (of: Value, own: number[]) =>
      viewed(
        of,
        dims,
        stridesOf(own).map((stride, i) => (own[i] === 1 ? 0 : stride)),
      );
    return {
      dims,
      values: async (weights, signal) => {
        const to = await spread(a!, left).values(weights, signal);
        const other = await spread(b!, right).values(weights, signal);
        return mapped(to, (value, i) => compute(value, other[i]!), signal);
      },
    };
  };

const unary =
  (compute: (a: number) => number): Operator =>
  (_, [a]) => ({
    dims: a!.dims,
    // What is read may be the model's own memory.
    values: async (weights, signal) => mapped((await a!.values(weights, signal)).slice(), compute, signal),
  });

const reduce =
  (term: (a: number) => number, end: (sum: number, terms: number) => number): Operator =>
  (node, [a], integers) => {
    const rank = a!.dims.length;
    const given = node.input[1] ? integers(1) : intsAttribute(node, 'axes');
    const axes = given && axesOf(given, rank);
    if (!axes || axes.length === 0) return undefined;
    const kept = a!.dims.map((dim, i) => (axes.includes(i) ? 1 : dim));
    const strides = stridesOf(kept).map((stride, i) => (axes.includes(i) ? 0 : stride));
    const terms = count(a!.dims) / count(kept);
    return {
      dims: intAttribute(node, 'keepdims', 1) === 0 ? kept.filter((_, i) => !axes.includes(i)) : kept,
      values: async (weights, signal) => {
        const from = await a!.values(weights, signal);
        const sums = new Float64Array(count(kept));
        await walk(a!.dims, strides, (place, i) => (sums[place]! += term(from[i]!)), signal);
        return Float32Array.from(sums, (sum) => end(sum, terms));
      },
    };
  };

const operators: Record<string, Operator> = {
  ...Object.fromEntries(Object.entries(arithmetic).map(([name, compute]) => [name, binary(compute)])),
  Identity: (_, [a]) => a,
  Neg: unary((a) => -a),
  Sqrt: unary(Math.sqrt),
  ReduceSum: reduce(
    (a) => a,
    (sum) => sum,
  ),
  ReduceMean: reduce(
    (a) => a,
    (sum, terms) => sum / terms,
  ),
  ReduceSumSquare: reduce(
    (a) => a * a,
    (sum) => sum,
  ),
  ReduceL2: reduce((a) => a * a, Math.sqrt),
  Cast: (node, [a]) => (intAttribute(node, 'to', 0) === Number(DataType.FLOAT) ? a : undefined),
  Transpose: (node, [a]) => {
    const rank = a!.dims.length;
    const perm = attributeOf(node, 'perm')?.ints.map(Number) ?? a!.dims.map((_, i) => rank - 1 - i);
    if ([...perm].sort((x, y) => x - y).join() !== a!.dims.map((_, i) => i).join()) return undefined;
    const strides = stridesOf(a!.dims);
    return viewed(
      a!,
      perm.map((axis) => a!.dims[axis]!),
      perm.map((axis) => strides[axis]!),
    );
  },
  Reshape: (node, [a], integers) => {
    const shape = integers(1)?.map((dim, i) => (dim === 0 ? (a!.dims[i] ?? -2) : dim));
    if (!shape || intAttribute(node, 'allowzero', 0) !== 0) return undefined;
    const open = shape.indexOf(-1);
    if (open >= 0) shape[open] = count(a!.dims) / -count(shape);
    return reshaped(a!, shape);
  },
  Squeeze: (node, [a], integers) => {
    const given = node.input[1] ? integers(1) : intsAttribute(node, 'axes');
    const axes = given && axesOf(given, a!.dims.length);
    if (!axes) return undefined;
    return reshaped(
      a!,
      a!.dims.filter((dim, i) => (axes.length === 0 ? dim !== 1 : !axes.includes(i))),
    );
  },
  Unsqueeze: (node, [a], integers) => {
    const given = node.input[1] ? integers(1) : intsAttribute(node, 'axes');
    const axes = given && axesOf(given, a!.dims.length + given.length);
    if (!axes || new Set(axes).size < axes.length) return undefined;
    const dims = [...a!.dims];
    for (const axis of [...axes].sort((x, y) => x - y)) dims.splice(axis, 0, 1);
    return reshaped(a!, dims);
  },
  Concat: (node, inputs) => {
    const [first] = inputs;
    const [axis] = (first && axesOf([intAttribute(node, 'axis', 0)], first.dims.length)) ?? [];
    if (axis === undefined) return undefined;
    const others = ({ dims }: Value) => dims.map((dim, i) => (i === axis ? 0 : dim)).join();
    if (inputs.some((input) => others(input) !== others(first!))) return undefined;
    const lengths = inputs.map(({ dims }) => count(dims.slice(axis)));
    const row = lengths.reduce((a, b) => a + b, 0);
    const dims = first!.dims.map((dim, i) =>
      i === axis ? inputs.reduce((sum, input) => sum + input.dims[axis]!, 0) : dim,
    );
    return {
      dims,
      values: async (weights, signal) => {
        const to = new Float32Array(count(dims));
        let before = 0;
        for (const [i, input] of inputs.entries()) {
          const [from, length] = [await input.values(weights, signal), lengths[i]!];
          for (let at = 0, target = before; at < from.length; at += length, target += row)
            to.set(from.subarray(at, at + length), target);
          before += length;
        }
        return to;
      },
    };
  },
  Split: (node, [a], integers, output) => {
    const [axis] = axesOf([intAttribute(node, 'axis', 0)], a!.dims.length) ?? [];
    if (axis === undefined) return undefined;
    const given = node.input[1] ? integers(1) : intsAttribute(node, 'split');
    const parts = node.output.length;
    const even = new Array<number>(parts).fill(a!.dims[axis]! / parts);
    const sizes = given && given.length === 0 ? even : given;
    if (!sizes || sizes.length !== parts || sizes.some((size) => !(size > 0))) return undefined;
    if (sizes.reduce((x, y) => x + y, 0) !== a!.dims[axis]) return undefined;
    const from = sizes.slice(0, output).reduce((x, y) => x + y, 0);
    return cut(a!, axis, from, sizes[output]!);
  },
  Slice: (node, [a], integers) => {
    const by = (name: string, at: number) =>
      node.input.length > 1 ? integers(at) : intsAttribute(node, name);
    const [starts, ends] = [by('starts', 1), by('ends', 2)];
    const named = node.input.length > 1 ? !!node.input[3] : !!attributeOf(node, 'axes');
    const axes = axesOf(named ? (by('axes', 3) ?? [-99]) : (starts ?? []).map((_, i) => i), a!.dims.length);
    const steps = node.input[4] ? integers(4) : [];
    if (!starts || !ends || !axes || !steps || steps.some((step) => step !== 1)) return undefined;
    if (starts.length !== axes.length || ends.length !== axes.length) return undefined;
    return axes.reduce((value: Value, axis, i) => {
      const length = value.dims[axis]!;
      const [from, to] = [starts[i]!, ends[i]!].map((end) =>
        Math.min(length, Math.max(0, end < 0 ? end + length : end)),
      ) as [number, number];
      return cut(value, axis, from, to - from);
    }, a!);
  },
};

/** `length` along an axis, from `start`. */
function cut(of: Value, axis: number, start: number, length: number): Value {
  const strides = stridesOf(of.dims);
  return viewed(
    of,
    of.dims.map((dim, i) => (i === axis ? length : dim)),
    strides,
    start * strides[axis]!,
  );
}
