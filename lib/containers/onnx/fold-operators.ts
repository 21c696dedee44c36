import type { FloatArray } from '../../types';
import { copyInParts } from '../../native/shared';
import { inParts, Turns } from '../../yielding';
import { attributeOf, intAttribute, intsAttribute } from './nodes';
import { TensorProto_DataType as DataType, type NodeProto, type TensorProto } from './onnx_pb';

// What operators make of constants, computed when their numbers are asked for.

/** Where the numbers of constants are. */
interface Stored {
  floats(tensor: TensorProto, signal?: AbortSignal): Promise<FloatArray>;
}

/** A value that depends on float32 constants alone. */
export interface Value {
  dims: readonly number[];
  values: (weights: Stored, signal?: AbortSignal) => Promise<Float32Array>;
}

/** How many of a node's inputs are numbers: the others say how. */
export function operands({ opType, input }: NodeProto): number {
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

export const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);
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

async function ownCopy(values: Float32Array, signal: AbortSignal | undefined): Promise<Float32Array> {
  const copy = new Float32Array(values.length);
  await copyInParts(values, copy, signal);
  return copy;
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
    values: async (weights, signal) =>
      mapped(await ownCopy(await a!.values(weights, signal), signal), compute, signal),
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
        const to = new Float32Array(sums.length);
        const part = (begin: number, last: number) => {
          for (let i = begin; i < last; i++) to[i] = end(sums[i]!, terms);
        };
        await inParts(sums.length, part, signal);
        return to;
      },
    };
  };

export const operators: Record<string, Operator> = {
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
        const turns = new Turns(signal);
        let before = 0;
        for (const [i, input] of inputs.entries()) {
          const [from, length] = [await input.values(weights, signal), lengths[i]!];
          for (let at = 0, target = before; at < from.length; at += length, target += row) {
            if (turns.due) await turns.next();
            await copyInParts(from.subarray(at, at + length), to.subarray(target, target + length), signal);
          }
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
