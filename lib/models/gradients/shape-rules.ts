import { attributeOf, intAttribute, intsAttribute } from '../../containers/onnx/graph';
import type { NodeProto } from '../../containers/onnx/onnx_pb';
import { dimsOf } from '../../containers/onnx/tensor';
import { type Dim, product, quotient, together } from './dims';

type Shape = readonly Dim[];

/** What is known of a node's inputs. */
interface Given {
  node: NodeProto;
  shapes: readonly (Shape | undefined)[];
  /** Of integers. */
  lists: readonly (Shape | undefined)[];
  fresh: () => Dim;
}

interface Made {
  /** By output. */
  shapes: readonly (Shape | undefined)[];
  /** The integers of the first output. */
  list?: Shape | undefined;
}

type ShapeRule = (given: Given) => Made;

const unknown: Made = { shapes: [] };
const one = (shape: Shape | undefined, list?: Shape): Made => ({ shapes: [shape], list });
const ofFirst =
  (shape: (first: Shape, given: Given) => Shape | undefined): ShapeRule =>
  (given) =>
    given.shapes[0] ? one(shape(given.shapes[0], given)) : unknown;

const same = ofFirst((first) => first);
/** The same integers in another form. */
const alike: ShapeRule = (given) => ({ ...same(given), list: given.lists[0] });

const allNumbers = (list: Shape | undefined): number[] | undefined =>
  list?.every((dim) => typeof dim === 'number') ? (list as number[]) : undefined;

const axisOf = (axis: number, rank: number) => (axis < 0 ? axis + rank : axis);

/** Axes from an input or, in older versions, an attribute; undefined where they are not known, null where there are none. */
function axesOf({ node, lists }: Given, input: number): number[] | undefined | null {
  if (node.input[input]) return allNumbers(lists[input]);
  return attributeOf(node, 'axes') ? intsAttribute(node, 'axes') : null;
}

function aligned(shapes: readonly (Shape | undefined)[], fresh: () => Dim): Shape | undefined {
  if (shapes.some((shape) => shape === undefined)) return undefined;
  const known = shapes as Shape[];
  const rank = Math.max(0, ...known.map(({ length }) => length));
  return Array.from({ length: rank }, (_, axis) =>
    known
      .map((shape) => shape[axis - rank + shape.length] ?? 1)
      .reduce((left, right) => together(left, right) ?? fresh()),
  );
}

const broadcast: ShapeRule = ({ shapes, fresh }) => one(aligned(shapes, fresh));

const times: ShapeRule = (given) => {
  const [a, b] = given.lists;
  const list = a?.length === 1 && b?.length === 1 ? [product([a[0]!, b[0]!])] : undefined;
  return { ...broadcast(given), list };
};

const matMul: ShapeRule = ({ shapes: [a, b], fresh }) => {
  if (!a || !b || a.length === 0 || b.length === 0) return unknown;
  const batch = aligned([a.slice(0, -2), b.slice(0, -2)], fresh)!;
  return one([...batch, ...(a.length > 1 ? [a.at(-2)!] : []), ...(b.length > 1 ? [b.at(-1)!] : [])]);
};

const gemm: ShapeRule = ({ node, shapes: [a, b] }) =>
  a && b ? one([a[intAttribute(node, 'transA', 0)]!, b[1 - intAttribute(node, 'transB', 0)]!]) : unknown;

const reshape: ShapeRule = (given) => {
  const { node, shapes, lists, fresh } = given;
  const [own, list] = [shapes[0], lists[1]];
  if (!list)
    return {
      shapes: [
        shapes[1]?.length === 1 && typeof shapes[1][0] === 'number'
          ? Array.from({ length: shapes[1][0] }, fresh)
          : undefined,
      ],
    };
  const keepsZeros = intAttribute(node, 'allowzero', 0) !== 0;
  const dims = list.map((dim, i) => (dim === 0 && !keepsZeros ? (own?.[i] ?? fresh()) : dim));
  const open = dims.indexOf(-1);
  if (open >= 0) {
    const others = product(dims.filter((_, i) => i !== open));
    dims[open] = (own && quotient(product(own), others)) ?? fresh();
  }
  return { shapes: [dims], list: dims.length <= 1 ? lists[0] : undefined };
};

const reduce = (place: number): ShapeRule =>
  ofFirst((own, given) => {
    const keeps = intAttribute(given.node, 'keepdims', 1) !== 0;
    const axes = axesOf(given, place);
    if (axes === undefined) return keeps ? own.map(() => given.fresh()) : undefined;
    const none = axes === null || axes.length === 0;
    if (none && intAttribute(given.node, 'noop_with_empty_axes', 0) !== 0) return own;
    const over = new Set(none ? own.keys() : axes.map((axis) => axisOf(axis, own.length)));
    return own.flatMap((dim, i) => (over.has(i) ? (keeps ? [1] : []) : [dim]));
  });

const argReduce = ofFirst((own, { node }) => {
  const axis = axisOf(intAttribute(node, 'axis', 0), own.length);
  const keeps = intAttribute(node, 'keepdims', 1) !== 0;
  return own.flatMap((dim, i) => (i === axis ? (keeps ? [1] : []) : [dim]));
});

const unsqueeze: ShapeRule = (given) => {
  const [own, axes] = [given.shapes[0], axesOf(given, 1)];
  if (!own || !axes) return { shapes: [], list: given.lists[0] };
  const rank = own.length + axes.length;
  const places = new Set(axes.map((axis) => axisOf(axis, rank)));
  const left = [...own];
  const dims = Array.from({ length: rank }, (_, i) => (places.has(i) ? 1 : left.shift()!));
  return { shapes: [dims], list: given.lists[0] };
};

const squeeze: ShapeRule = (given) => {
  const [own, axes] = [given.shapes[0], axesOf(given, 1)];
  if (!own || axes === undefined) return { shapes: [], list: given.lists[0] };
  if (axes === null && own.some((dim) => typeof dim !== 'number')) return unknown;
  const places = new Set(axes?.map((axis) => axisOf(axis, own.length)) ?? []);
  const dims = own.filter((dim, i) => (axes === null ? dim !== 1 : !places.has(i)));
  return { shapes: [dims], list: given.lists[0] };
};

const concat: ShapeRule = ({ node, shapes, lists, fresh }) => {
  const list = lists.every((part) => part !== undefined) ? lists.flat() : undefined;
  const [first] = shapes;
  if (!first || shapes.some((shape) => shape === undefined)) return { shapes: [], list };
  const axis = axisOf(intAttribute(node, 'axis', 1), first.length);
  const along = shapes.map((shape) => shape![axis]!);
  const whole = allNumbers(along)?.reduce((sum, dim) => sum + dim, 0);
  return {
    shapes: [first.map((dim, i) => (i === axis ? (whole ?? fresh()) : dim))],
    list: first.length <= 1 ? list : undefined,
  };
};

const split: ShapeRule = (given) => {
  const { node, shapes, lists, fresh } = given;
  const [own] = shapes;
  if (!own) return unknown;
  const axis = axisOf(intAttribute(node, 'axis', 0), own.length);
  const sizes = node.input[1]
    ? lists[1]
    : attributeOf(node, 'split')
      ? intsAttribute(node, 'split')
      : undefined;
  const whole = own[axis];
  const even =
    !sizes && !node.input[1] && typeof whole === 'number' && whole % node.output.length === 0
      ? whole / node.output.length
      : undefined;
  return {
    shapes: node.output.map((_, part) =>
      own.map((dim, i) => (i === axis ? (sizes?.[part] ?? even ?? fresh()) : dim)),
    ),
  };
};

/** The part of a list, or of a length, that a Slice takes. */
function sliced(length: number, [start, end, step]: readonly [number, number, number]): number[] {
  const clamp = (at: number, low: number, high: number) =>
    Math.min(high, Math.max(low, at < 0 ? at + length : at));
  const places = [];
  const [from, to] =
    step > 0
      ? [clamp(start, 0, length), clamp(end, 0, length)]
      : [clamp(start, 0, length - 1), clamp(end, -1, length - 1)];
  for (let at = from; step > 0 ? at < to : at > to; at += step) places.push(at);
  return places;
}

const slice: ShapeRule = (given) => {
  const { node, shapes, lists, fresh } = given;
  const [own] = shapes;
  const [starts, ends, axes, steps] = [1, 2, 3, 4].map((i) =>
    node.input[i] ? allNumbers(lists[i]) : undefined,
  );
  const isKnown = starts && ends && (!node.input[3] || axes) && (!node.input[4] || steps);
  if (!own) return unknown;
  if (!isKnown) return { shapes: [own.map(() => fresh())] };
  const over = new Map(
    starts.map((start, i) => [
      axisOf(axes?.[i] ?? i, own.length),
      [start, ends[i]!, steps?.[i] ?? 1] as const,
    ]),
  );
  const places = (axis: number) => {
    const [range, dim] = [over.get(axis), own[axis]];
    return range && typeof dim === 'number' ? sliced(dim, range) : undefined;
  };
  const list = own.length === 1 && lists[0] ? places(0)?.map((at) => lists[0]![at]!) : undefined;
  return {
    shapes: [own.map((dim, axis) => (over.has(axis) ? (places(axis)?.length ?? fresh()) : dim))],
    list,
  };
};

const gather: ShapeRule = ({ node, shapes: [own, places], lists: [list, indices] }) => {
  const numbers = allNumbers(indices);
  const taken = list && numbers?.map((at) => list[axisOf(at, list.length)]!);
  if (!own || !places) return { shapes: [], list: taken };
  const axis = axisOf(intAttribute(node, 'axis', 0), own.length);
  return { shapes: [[...own.slice(0, axis), ...places, ...own.slice(axis + 1)]], list: taken };
};

const gatherNd: ShapeRule = ({ node, shapes: [own, places] }) => {
  const depth = places?.at(-1);
  if (!own || !places || typeof depth !== 'number') return unknown;
  return one([...places.slice(0, -1), ...own.slice(intAttribute(node, 'batch_dims', 0) + depth)]);
};

const shape: ShapeRule = ({ node, shapes: [own] }) => {
  if (!own) return unknown;
  const end = attributeOf(node, 'end');
  const dims = own.slice(intAttribute(node, 'start', 0), end ? Number(end.i) : undefined);
  return one([dims.length], dims);
};

const range: ShapeRule = ({ lists, fresh }) => {
  const [from, to, step] = lists.map((list) => list?.[0]);
  if (from === 0 && step === 1 && to !== undefined && (typeof to === 'string' || to >= 0)) return one([to]);
  return one([fresh()]);
};

const constant: ShapeRule = ({ node }) => {
  const tensor = attributeOf(node, 'value')?.t;
  if (tensor) return one(dimsOf(tensor));
  const [ints, floats] = ['value_ints', 'value_floats'].map((name) => attributeOf(node, name));
  if (ints || floats) return one([(ints?.ints ?? floats!.floats).length]);
  return one([], attributeOf(node, 'value_int') && [intAttribute(node, 'value_int', 0)]);
};

const transpose = ofFirst((own, { node }) => {
  const order = attributeOf(node, 'perm')?.ints.map(Number);
  return order ? order.map((axis) => own[axis]!) : [...own].reverse();
});

const flatten = ofFirst((own, { node }) => {
  const axis = axisOf(intAttribute(node, 'axis', 1), own.length);
  return [product(own.slice(0, axis)), product(own.slice(axis))];
});

const expand: ShapeRule = ({ shapes: [own], lists: [, list], fresh }) => one(aligned([own, list], fresh));

const topK: ShapeRule = ({ node, shapes: [own], lists, fresh }) => {
  if (!own) return unknown;
  const axis = axisOf(intAttribute(node, 'axis', -1), own.length);
  const dims = own.map((dim, i) => (i === axis ? (lists[1]?.[0] ?? fresh()) : dim));
  return { shapes: [dims, dims] };
};

/** [batch, channels, …] by what is known of the windows. */
const convolved: ShapeRule = ({ node, shapes: [own, weight], fresh }) => {
  if (!own) return unknown;
  const channels = /^Conv/.test(node.opType)
    ? node.opType === 'Conv'
      ? (weight?.[0] ?? fresh())
      : weight && typeof weight[1] === 'number'
        ? weight[1] * intAttribute(node, 'group', 1)
        : fresh()
    : own[1]!;
  const kernel = attributeOf(node, 'kernel_shape')?.ints.map(Number) ?? allNumbers(weight)?.slice(2);
  const plain =
    node.opType !== 'ConvTranspose' &&
    !attributeOf(node, 'auto_pad') &&
    intAttribute(node, 'ceil_mode', 0) === 0;
  const spatial = own.slice(2).map((dim, axis) => {
    if (!plain || !kernel || typeof dim !== 'number') return fresh();
    const of = (name: string, at: number, other: number) => intsAttribute(node, name)[at] ?? other;
    const pads = of('pads', axis, 0) + of('pads', axis + own.length - 2, 0);
    const reach = (kernel[axis]! - 1) * of('dilations', axis, 1) + 1;
    return Math.floor((dim + pads - reach) / of('strides', axis, 1)) + 1;
  });
  const dims = [own[0]!, channels, ...spatial];
  return { shapes: [dims, dims] };
};

const pooled = ofFirst((own) => own.map((dim, axis) => (axis < 2 ? dim : 1)));
const sameRank = ofFirst((own, { fresh }) => own.map(() => fresh()));

const each = (names: string, rule: ShapeRule) =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule] as const));

/** By operator, as rules of gradients are. */
export const shapeRules: Readonly<Record<string, ShapeRule>> = {
  ...each(
    'Abs Neg Sqrt Reciprocal Exp Log Sin Cos Tanh Sigmoid Erf Relu LeakyRelu Elu Selu Celu ThresholdedRelu HardSigmoid HardSwish Softplus Softsign Mish Swish Gelu Clip Round Floor Ceil Sign Not IsNaN IsInf',
    same,
  ),
  ...each(
    'Softmax LogSoftmax Hardmax Dropout CumSum Trilu ReverseSequence LpNormalization LRN CastLike',
    same,
  ),
  ...each(
    'LayerNormalization SimplifiedLayerNormalization RMSNormalization BatchNormalization InstanceNormalization GroupNormalization',
    same,
  ),
  ...each(
    'com.microsoft.Gelu com.microsoft.QuickGelu com.microsoft.BiasGelu com.microsoft.FastGelu com.microsoft.RotaryEmbedding RotaryEmbedding',
    same,
  ),
  ...each(
    'com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization',
    ({ shapes: [own] }) => ({
      shapes: [own, undefined, undefined, own],
    }),
  ),
  ...each('Identity Cast', alike),
  ...each(
    'Add Sub Div Pow PRelu Min Max Sum Mean Mod Equal Greater Less GreaterOrEqual LessOrEqual And Or Xor Where',
    broadcast,
  ),
  Mul: times,
  MatMul: matMul,
  Gemm: gemm,
  Reshape: reshape,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Flatten: flatten,
  Transpose: transpose,
  Expand: expand,
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  GatherElements: ({ shapes }) => one(shapes[1]),
  GatherND: gatherNd,
  ScatterND: same,
  ScatterElements: same,
  TopK: topK,
  ...each('Tile Pad Resize Upsample', sameRank),
  ...each(
    'ReduceSum ReduceMean ReduceMax ReduceMin ReduceL1 ReduceL2 ReduceSumSquare ReduceLogSum ReduceLogSumExp ReduceProd',
    reduce(1),
  ),
  ...each('ArgMax ArgMin', argReduce),
  ...each('Conv ConvTranspose MaxPool AveragePool LpPool', convolved),
  ...each('GlobalAveragePool GlobalMaxPool GlobalLpPool', pooled),
  'com.microsoft.MultiHeadAttention': ({ shapes: [query, , value] }) =>
    query?.length === 3 && value?.length === 3 ? one([query[0]!, query[1]!, value[2]!]) : unknown,
  Shape: shape,
  Size: ({ shapes: [own] }) => one([], own && [product(own)]),
  NonZero: ({ shapes: [own], fresh }) => one(own && [own.length, fresh()]),
  Range: range,
  Constant: constant,
  ConstantOfShape: ({ lists: [list] }) => one(list),
};
