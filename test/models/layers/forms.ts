import { floatTensor } from '../../../lib/containers/onnx/float-tensor';
import { type AttributeValue, node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType, type ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import type { Feeds } from '../../../lib/models/types';
import { feed, network, random } from '../networks';

/** A network of one operator: the input `x`, the weight `w`, a bias `b` where it has one, the output `y`. */
export interface Form {
  model: (opset: number) => ModelProto;
  feeds: Feeds[];
  /** Whether y − b is linear in `w`, each of its numbers a product of a neuron and a row: the layer's error is that of y. */
  exact: boolean;
  operators: string[] | undefined;
}

interface Parts {
  op: string;
  /** Dimensions of each input, and those that are alike in all feeds for the graph. */
  x: number[][];
  w: number[];
  attributes?: Record<string, AttributeValue>;
  /** Dimensions of the bias. */
  b?: number[];
  /** The names of the node's inputs. */
  inputs?: string[];
  extra?: Record<string, number[]>;
  domain?: string;
  exact?: boolean;
  half?: boolean;
  operators?: string[];
}

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

function form(parts: Parts): Form {
  const { op, x, w, b, attributes = {}, extra = {}, domain, half = false } = parts;
  const type = half ? DataType.FLOAT16 : DataType.FLOAT;
  const inputs = parts.inputs ?? ['x', 'w', ...(b ? ['b'] : [])];
  const constant = (name: string, dims: number[], seed: number) =>
    floatTensor(name, dims, type, random(count(dims), seed));
  return {
    exact: parts.exact ?? true,
    operators: parts.operators,
    feeds: x.map((dims, i) => feed(dims, i + 1)),
    model: (opset) =>
      network({
        nodes: [
          ...(half ? [node('Cast', ['x'], ['xh'], { attributes: { to: BigInt(type) } })] : []),
          node(
            op,
            inputs.map((name) => (name === 'x' && half ? 'xh' : name)),
            [half ? 'yh' : 'y'],
            { name: 'layer', attributes, ...(domain ? { domain } : {}) },
          ),
          ...(half ? [node('Cast', ['yh'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } })] : []),
        ],
        constants: [
          constant('w', w, 11),
          ...(b ? [constant('b', b, 12)] : []),
          ...Object.entries(extra).map(([name, dims], i) => constant(name, dims, 20 + i)),
        ],
        inputs: [valueInfo('x', DataType.FLOAT, shapeOf(x))],
        model: {
          irVersion: 8n,
          opsetImport: [{ domain: '', version: BigInt(opset) }, ...(domain ? [{ domain, version: 1n }] : [])],
        },
      }),
  };
}

/** Dimensions in which feeds differ are free. */
const shapeOf = (x: number[][]) =>
  x[0]!.map((dim, axis) => (x.every((dims) => dims[axis] === dim) && axis > 0 ? dim : `free${axis}`));

const microsoft = 'com.microsoft';
const ints = (...values: number[]) => values.map(BigInt);

/** Convolutions: input dimensions but the first, weight, attributes. */
const conv = (
  channels: number,
  space: number[],
  w: number[],
  given: Record<string, AttributeValue> = {},
  op = 'Conv',
) =>
  form({
    op,
    x: [
      [2, channels, ...space],
      [3, channels, ...space.map((length) => length + 1)],
    ],
    w,
    b: [op === 'ConvTranspose' ? w[1]! * Number(given['group'] ?? 1) : w[0]!],
    attributes: given,
    exact: op === 'Conv',
  });

const convolutions: Record<string, Form> = {
  'Conv 1-D': conv(5, [20], [7, 5, 3]),
  'Conv 2-D': conv(3, [9, 8], [6, 3, 3, 2]),
  'Conv 3-D': conv(2, [5, 6, 7], [4, 2, 2, 3, 2], { pads: ints(1, 0, 1, 0, 1, 0) }),
  'Conv 1×1': conv(40, [5, 4], [6, 40, 1, 1]),
  'Conv, strides': conv(3, [11, 12], [5, 3, 3, 3], { strides: ints(2, 3) }),
  'Conv, dilations': conv(3, [12, 13], [5, 3, 3, 2], { dilations: ints(2, 3), kernel_shape: ints(3, 2) }),
  'Conv, asymmetric pads': conv(3, [7, 8], [5, 3, 3, 4], { pads: ints(2, 0, 1, 3) }),
  'Conv, all at once': conv(4, [11, 14], [6, 2, 3, 2], {
    ...{ group: 2n, strides: ints(2, 1), dilations: ints(1, 2), pads: ints(0, 1, 3, 2) },
  }),
  'Conv SAME_UPPER': conv(3, [7, 8], [5, 3, 4, 2], { auto_pad: 'SAME_UPPER', strides: ints(2, 3) }),
  'Conv SAME_LOWER': conv(3, [7, 8], [5, 3, 4, 2], { auto_pad: 'SAME_LOWER', strides: ints(2, 1) }),
  'Conv SAME_UPPER, kernel shorter than the stride': conv(3, [7, 8], [5, 3, 1, 2], {
    ...{ auto_pad: 'SAME_UPPER', strides: ints(3, 3) },
  }),
  'Conv VALID': conv(3, [7, 8], [5, 3, 4, 2], { auto_pad: 'VALID', strides: ints(2, 1) }),
  'Conv, pads longer than the kernel': conv(2, [5], [3, 2, 2], { pads: ints(4, 3) }),
  'Conv 1-D SAME_LOWER in groups': conv(6, [9], [4, 3, 4], { auto_pad: 'SAME_LOWER', group: 2n }),
  'Conv, groups': conv(12, [6, 6], [8, 3, 3, 3], { group: 4n }),
  'Conv, depthwise': conv(6, [8, 7], [6, 1, 3, 3], { group: 6n, pads: ints(1, 1, 1, 1) }),
  'Conv, depthwise with multiplier': conv(4, [8, 7], [12, 1, 3, 3], { group: 4n }),
  ConvTranspose: conv(6, [4, 5], [6, 5, 2, 3], { strides: ints(2, 3) }, 'ConvTranspose'),
  'ConvTranspose, overlapping': conv(6, [4, 5], [6, 5, 3, 3], { strides: ints(2, 2) }, 'ConvTranspose'),
  'ConvTranspose in groups, output_padding': conv(
    6,
    [4, 5],
    [6, 2, 3, 2],
    { group: 3n, strides: ints(3, 2), output_padding: ints(1, 0), pads: ints(1, 0, 0, 1) },
    'ConvTranspose',
  ),
  'ConvTranspose 1-D, SAME_UPPER': conv(
    40,
    [6],
    [40, 3, 4],
    { auto_pad: 'SAME_UPPER', strides: ints(2) },
    'ConvTranspose',
  ),
};
// Without pads, and with a stride of the kernel, each output is one product.
convolutions['ConvTranspose']!.exact = true;
convolutions['ConvTranspose in groups, apart'] = {
  ...conv(8, [4, 5], [8, 3, 2, 3], { group: 2n, strides: ints(2, 4) }, 'ConvTranspose'),
  exact: true,
};

const [rows, long] = [
  [
    [70, 40],
    [50, 40],
  ],
  [
    [40, 30],
    [40, 30],
  ],
];

const products: Record<string, Form> = {
  MatMul: form({ op: 'MatMul', x: rows, w: [40, 24] }),
  'MatMul of batches': form({
    op: 'MatMul',
    x: [
      [2, 3, 10, 40],
      [1, 3, 7, 40],
    ],
    w: [40, 24],
  }),
  'MatMul, leading dimensions of 1': form({ op: 'MatMul', x: [[3, 20, 40]], w: [1, 1, 40, 24] }),
  'MatMul of a vector': form({ op: 'MatMul', x: [[40], [40], [40]], w: [40, 24] }),
  'MatMul, weight on the left': form({ op: 'MatMul', x: long, w: [24, 40], inputs: ['w', 'x'] }),
  'MatMul of batches, weight on the left': form({
    op: 'MatMul',
    x: [
      [2, 3, 40, 9],
      [1, 3, 40, 8],
    ],
    w: [24, 40],
    inputs: ['w', 'x'],
  }),
  'MatMul of a vector, weight on the left': form({
    ...{ op: 'MatMul', x: [[40], [40], [40]], w: [24, 40], inputs: ['w', 'x'] },
  }),
  Gemm: form({ op: 'Gemm', x: rows, w: [40, 24], b: [24] }),
  'Gemm transB': form({
    op: 'Gemm',
    x: rows,
    w: [24, 40],
    b: [1, 24],
    attributes: { transB: 1n, alpha: 0.5 },
  }),
  'Gemm transA': form({ op: 'Gemm', x: long, w: [40, 24], b: [24], attributes: { transA: 1n, beta: 0.5 } }),
  'Gemm transA, transB': form({
    op: 'Gemm',
    x: long,
    w: [24, 40],
    attributes: { transA: 1n, transB: 1n, alpha: -2 },
  }),
  FusedMatMul: form({
    op: 'FusedMatMul',
    domain: microsoft,
    x: [
      [2, 12, 40],
      [3, 12, 40],
    ],
    w: [24, 40],
    attributes: { transB: 1n, alpha: 0.5 },
  }),
  'FusedMatMul transA': form({
    op: 'FusedMatMul',
    domain: microsoft,
    x: [
      [2, 40, 12],
      [3, 40, 12],
    ],
    w: [40, 24],
    attributes: { transA: 1n },
  }),
  FusedGemm: form({
    op: 'FusedGemm',
    domain: microsoft,
    x: rows,
    w: [24, 40],
    b: [24],
    attributes: { transB: 1n, activation: 'Relu' },
    exact: false,
  }),
  FusedConv: {
    ...form({
      op: 'FusedConv',
      domain: microsoft,
      x: [[4, 3, 8, 7]],
      w: [6, 3, 3, 3],
      b: [6],
      attributes: { activation: 'Relu', pads: ints(1, 0, 0, 1) },
    }),
    exact: false,
  },
  Attention: form({
    op: 'Attention',
    domain: microsoft,
    x: [
      [2, 5, 16],
      [3, 4, 16],
    ],
    w: [16, 48],
    b: [48],
    attributes: { num_heads: 2n },
    exact: false,
  }),
};

const recurrent = (
  op: string,
  gates: number,
  directions: number,
  attributes: Record<string, AttributeValue> = {},
) =>
  form({
    op,
    x: [
      [5, 3, 10],
      [4, 6, 10],
    ],
    w: [directions, gates * 8, 10],
    extra: { r: [directions, gates * 8, 8] },
    b: [directions, 2 * gates * 8],
    inputs: ['x', 'w', 'r', 'b'],
    attributes: {
      hidden_size: 8n,
      ...(directions === 2 ? { direction: 'bidirectional' } : {}),
      ...attributes,
    },
    exact: false,
  });

const others: Record<string, Form> = {
  LSTM: recurrent('LSTM', 4, 1),
  'LSTM, both directions': recurrent('LSTM', 4, 2),
  GRU: recurrent('GRU', 3, 1, { linear_before_reset: 1n }),
  'GRU, both directions': recurrent('GRU', 3, 2),
  'RNN, reverse': recurrent('RNN', 1, 1, { direction: 'reverse' }),
  'RNN, both directions': recurrent('RNN', 1, 2),
  'float16 MatMul': form({ op: 'MatMul', x: rows, w: [40, 24], half: true, exact: false }),
  'float16 Gemm': form({
    ...{ op: 'Gemm', x: rows, w: [24, 40], b: [24], half: true, exact: false },
    attributes: { transB: 1n },
  }),
  'float16 Conv': form({
    ...{ op: 'Conv', x: [[4, 4, 8, 7]], w: [6, 2, 3, 3], b: [6], half: true, exact: false },
    attributes: { group: 2n },
  }),
  'float16 ConvTranspose': form({
    ...{ op: 'ConvTranspose', x: [[4, 4, 5, 6]], w: [4, 3, 2, 2], half: true, exact: false },
  }),
};

/** Rows of a table by indices. */
const lookup: Form = {
  exact: false,
  operators: ['Gather'],
  feeds: [
    {
      x: {
        data: BigInt64Array.from({ length: 60 }, (_, i) => BigInt((i * i) % 50)),
        dims: [6, 10],
        type: 'int64',
      },
    },
  ],
  model: (opset) =>
    network({
      nodes: [node('Gather', ['w', 'x'], ['y'], { name: 'layer' })],
      constants: [tensor('w', [50, 40], random(2000, 11))],
      inputs: [valueInfo('x', DataType.INT64, ['batch', 'tokens'])],
      model: { irVersion: 8n, opsetImport: [{ domain: '', version: BigInt(opset) }] },
    }),
};

export const forms: Record<string, Form> = { ...products, ...convolutions, ...others, Gather: lookup };
