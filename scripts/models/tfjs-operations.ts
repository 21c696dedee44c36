import type { Tensor } from './onnx-graph';
import { broadcastShape, endsWith, product, resolveShape, withoutUnits, type Shape } from './symbolic-shape';
import type { Conversion, Converter, Integers, Value } from './tfjs-conversion';
import {
  booleanAttribute,
  integerAttribute,
  integersAttribute,
  stringAttribute,
  type TfjsNode,
} from './tfjs-graph';

/**
 * The converters of the operations that a sentence encoder uses, by TensorFlow's names.
 *
 * Reshape, ExpandDims, Squeeze, GatherNd and ScatterNd only change the shape that a tensor is read in, and
 * a node for it is made where an operation needs the tensor stored that way. Integers are followed through
 * Shape, Pack and the like at conversion time and leave nothing behind.
 */
export const operations: Record<string, Converter> = {
  Const: (node, c) => constant(node, c),

  Add: elementwise('Add'),
  BiasAdd: elementwise('Add'),
  Sub: elementwise('Sub'),
  Mul: elementwise('Mul'),
  RealDiv: elementwise('Div'),
  Maximum: elementwise('Max'),
  Relu: unary('Relu'),
  Tanh: unary('Tanh'),
  Square: (node, c) => {
    const x = c.tensor(node, 0);
    return { ...x, name: c.onnx.addNode('Mul', c.scope(node), [x.name, x.name])[0] };
  },
  Rsqrt: (node, c) => {
    const x = c.tensor(node, 0);
    const [root] = c.onnx.addNode('Sqrt', c.scope(node), [x.name]);
    return { ...x, name: c.onnx.addNode('Reciprocal', c.scope(node), [root])[0] };
  },
  LogicalNot: (node, c) => {
    const x = c.tensor(node, 0);
    return { ...x, name: c.onnx.addNode('Sub', c.scope(node), [c.onnx.scalar(1), x.name])[0] };
  },
  // Booleans and counts are carried as float32, which holds 0, 1 and every token count exactly.
  Cast: (node, c) => c.input(node, 0),

  MatMul: (node, c) => matMul(node, c),
  Conv2D: (node, c) => pointwiseConvolution(node, c),
  BatchMatMul: (node, c) => batchMatMul(node, c),
  Softmax: (node, c) => {
    const x = lastAxis(c.tensor(node, 0), node, c);
    return { ...x, name: c.onnx.addNode('Softmax', c.scope(node), [x.name], { axis: -1n })[0] };
  },
  Sum: (node, c) => sum(node, c),

  Reshape: (node, c) => {
    const x = c.tensor(node, 0);
    return { ...x, shape: resolveShape(x.shape, c.integers(node, 1)) };
  },
  ExpandDims: (node, c) => {
    const x = c.tensor(node, 0);
    const axis = c.number(node, 1);
    return { ...x, shape: x.shape.toSpliced(axis < 0 ? axis + x.shape.length + 1 : axis, 0, 1) };
  },
  Squeeze: (node, c) => {
    const x = c.tensor(node, 0);
    const axes = integersAttribute(node, 'squeeze_dims');
    if (!axes.every((axis) => x.shape[axis] === 1))
      throw new RangeError(`${node.name} squeezes [${x.shape}]`);
    return { ...x, shape: x.shape.filter((_, axis) => !axes.includes(axis)) };
  },
  Transpose: (node, c) => transpose(c.tensor(node, 0), c.numbers(node, 1), node, c),
  SplitV: (node, c) => split(node, c),
  GatherNd: (node, c) => {
    const x = c.tensor(node, 0);
    return { ...x, shape: [tokenCount(node, c, 1), ...x.shape.slice(2)] };
  },
  // The source graph has zeros at the padding. Here the padding keeps values of its own, which reach nothing:
  // attention gives them the weight 0, and the mask takes them out of the mean.
  ScatterNd: (node, c) => {
    tokenCount(node, c, 0);
    return { ...c.tensor(node, 1), shape: c.integers(node, 2) };
  },

  GatherV2: (node, c) => gather(node, c),
  Shape: (node, c) => integers(c.tensor(node, 0).shape),
  Prod: (node, c) => integers([product(c.integers(node, 0))]),
  Pack: (node, c) => integers(node.inputs.flatMap((_, i) => c.integers(node, i))),
  // The last input of a concatenation is its axis.
  ConcatV2: (node, c) => integers(node.inputs.slice(0, -1).flatMap((_, i) => c.integers(node, i))),
  Slice: (node, c) => {
    const begin = c.number(node, 1);
    return integers(c.integers(node, 0).slice(begin, begin + c.number(node, 2)));
  },
  StridedSlice: (node, c) => stridedSlice(node, c),
};

function integers(values: Shape): Integers {
  return { kind: 'integers', values };
}

function constant(node: TfjsNode, c: Conversion): Value {
  const weight = c.graph.weights.get(node.name);
  if (weight === undefined) throw new Error(`${node.name} has no data`);
  if (weight.data instanceof Int32Array) return integers([...weight.data]);
  return { kind: 'weights', source: node.name, shape: weight.shape, data: weight.data };
}

function unary(opType: string): Converter {
  return (node, c) => {
    const x = c.tensor(node, 0);
    return { ...x, name: c.onnx.addNode(opType, c.scope(node), [x.name])[0] };
  };
}

function elementwise(opType: string): Converter {
  return (node, c) => {
    const [a, b] = alignOperands(c.tensor(node, 0), c.tensor(node, 1), node, c);
    return {
      kind: 'tensor',
      name: c.onnx.addNode(opType, c.scope(node), [a.name, b.name])[0],
      shape: broadcastShape(a.shape, b.shape),
      stored: broadcastShape(a.stored, b.stored),
    };
  };
}

/** The operands stored so that ONNX broadcasts them as the source graph does. */
function alignOperands(a: Tensor, b: Tensor, node: TfjsNode, c: Conversion): [Tensor, Tensor] {
  // A scalar, a vector along the last axis, and one stored without the other's leading axes align as they are.
  const aligned = (whole: Tensor, part: Tensor) =>
    endsWith(whole.shape, part.shape) && endsWith(whole.stored, part.stored);
  if (aligned(a, b) || aligned(b, a)) return [a, b];
  const scope = c.scope(node);
  return [c.onnx.store(a, a.shape, scope), c.onnx.store(b, b.shape, scope)];
}

/**
 * `x` as an operation along the last axis takes it: as it is stored if that keeps the axis, else in its own
 * shape without unit axes.
 */
function lastAxis(x: Tensor, node: TfjsNode, c: Conversion): Tensor {
  if (x.stored.at(-1) === x.shape.at(-1)) return x;
  return c.onnx.store(x, withoutUnits(x.shape), c.scope(node));
}

/** `x [..., in]` times `kernel [in, out]`, the node that a quantizer looks for. */
function multiplyByKernel(node: TfjsNode, c: Conversion, inputs: number, outputs: number): Tensor {
  const x = lastAxis(c.tensor(node, 0), node, c);
  const kernel = c.initializer({ ...c.weights(node, 1), shape: [inputs, outputs] });
  return {
    kind: 'tensor',
    name: c.onnx.addNode('MatMul', c.scope(node), [x.name, kernel.name])[0],
    shape: x.shape.with(-1, outputs),
    stored: x.stored.with(-1, outputs),
  };
}

function matMul(node: TfjsNode, c: Conversion): Tensor {
  if (booleanAttribute(node, 'transpose_a') || booleanAttribute(node, 'transpose_b')) {
    throw new Error(`${node.name} multiplies a transposed matrix`);
  }
  const [inputs, outputs] = c.weights(node, 1).shape as [number, number];
  return multiplyByKernel(node, c, inputs, outputs);
}

function pointwiseConvolution(node: TfjsNode, c: Conversion): Tensor {
  const [height, width, inputs, outputs] = c.weights(node, 1).shape as [number, number, number, number];
  const strided = integersAttribute(node, 'strides').some((stride) => stride !== 1);
  if (height !== 1 || width !== 1 || strided || stringAttribute(node, 'data_format') !== 'NHWC') {
    throw new Error(`${node.name} is no 1x1 convolution over the last axis`);
  }
  return multiplyByKernel(node, c, inputs, outputs);
}

function batchMatMul(node: TfjsNode, c: Conversion): Tensor {
  if (booleanAttribute(node, 'adj_x')) throw new Error(`${node.name} transposes its first operand`);
  const a = c.onnx.store(c.tensor(node, 0), c.tensor(node, 0).shape, c.scope(node));
  const b = booleanAttribute(node, 'adj_y') ? adjoint(node, c, 1) : c.tensor(node, 1);
  const right = c.onnx.store(b, b.shape, c.scope(node));
  const shape = a.shape.with(-1, right.shape.at(-1)!);
  return {
    kind: 'tensor',
    name: c.onnx.addNode('MatMul', c.scope(node), [a.name, right.name])[0],
    shape,
    stored: shape,
  };
}

/** Input `i` with its last two axes swapped; where a Transpose makes it, one node does both. */
function adjoint(node: TfjsNode, c: Conversion, i: number): Tensor {
  const source = c.inputNode(node, i);
  const swapped = (axes: number[]) => [...axes.slice(0, -2), ...axes.slice(-2).reverse()];
  if (source.op === 'Transpose') {
    return transpose(c.tensor(source, 0), swapped(c.numbers(source, 1)), source, c);
  }
  const x = c.tensor(node, i);
  return transpose(x, swapped([...x.shape.keys()]), node, c);
}

function transpose(x: Tensor, axes: number[], node: TfjsNode, c: Conversion): Tensor {
  const from = c.onnx.store(x, x.shape, c.scope(node));
  const shape = axes.map((axis) => x.shape[axis]!);
  const [name] = c.onnx.addNode('Transpose', c.scope(node), [from.name], { perm: axes.map(BigInt) });
  return { kind: 'tensor', name, shape, stored: shape };
}

function split(node: TfjsNode, c: Conversion): Tensor[] {
  const x = c.onnx.store(c.tensor(node, 0), c.tensor(node, 0).shape, c.scope(node));
  const sizes = c.numbers(node, 1);
  const axis = c.number(node, 2);
  const inputs = [x.name, c.onnx.integers(sizes)];
  const names = c.onnx.addNode('Split', c.scope(node), inputs, { axis: BigInt(axis) }, sizes.length);
  return names.map((name, i) => {
    const shape = x.shape.with(axis, sizes[i]!);
    return { kind: 'tensor', name, shape, stored: shape };
  });
}

function sum(node: TfjsNode, c: Conversion): Tensor {
  const x = c.onnx.store(c.tensor(node, 0), c.tensor(node, 0).shape, c.scope(node));
  const axis = c.number(node, 1);
  const keep = booleanAttribute(node, 'keep_dims');
  const [name] = c.onnx.addNode('ReduceSum', c.scope(node), [x.name, c.onnx.integers([axis])], {
    keepdims: keep ? 1n : 0n,
  });
  const shape = keep ? x.shape.with(axis, 1) : x.shape.toSpliced(axis, 1);
  return { kind: 'tensor', name, shape, stored: shape };
}

/** Rows of a table, or elements of a shape. */
function gather(node: TfjsNode, c: Conversion): Value {
  if (c.number(node, 2) !== 0) throw new Error(`${node.name} gathers along an inner axis`);
  const from = c.input(node, 0);
  if (from.kind === 'integers') return integers(c.numbers(node, 1).map((index) => from.values[index]!));
  const table = c.tensor(node, 0);
  const rows = c.tensor(node, 1);
  return {
    kind: 'tensor',
    name: c.onnx.addNode('Gather', c.scope(node), [table.name, rows.name])[0],
    shape: [...rows.shape, ...table.shape.slice(1)],
    stored: [...rows.stored, ...table.shape.slice(1)],
  };
}

function tokenCount(node: TfjsNode, c: Conversion, i: number) {
  const coordinates = c.input(node, i);
  if (coordinates.kind !== 'tokens') throw new Error(`${node.name} does not index by the real tokens`);
  return coordinates.count;
}

/** A part of a shape: bit 0 of a mask leaves that bound out. */
function stridedSlice(node: TfjsNode, c: Conversion): Integers {
  if (c.number(node, 3) !== 1) throw new Error(`${node.name} skips elements`);
  const values = c.integers(node, 0);
  const begin = integerAttribute(node, 'begin_mask') & 1 ? 0 : c.number(node, 1);
  const end = integerAttribute(node, 'end_mask') & 1 ? values.length : c.number(node, 2);
  return integers(values.slice(begin, end));
}
