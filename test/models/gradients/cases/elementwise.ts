import { node, tensor } from '../../../../lib/containers/onnx/make';
import type { Case } from '../check';

const binary = (opType: string, a: number[], b: number[]): Case => ({
  name: `${opType} ${a.join()} ${b.join()}`,
  nodes: [node(opType, ['a', 'b'], ['y'])],
  inputs: { a, b },
});

/** Away from where there is no derivative. */
const signed = [-2.5, -1.3, -0.6, -0.2, 0.3, 0.7, 1.4, 3.5];
const positive = signed.map(Math.abs);

const unary = (
  opType: string,
  {
    data = signed,
    attributes = {},
    ...rest
  }: Partial<Case> & {
    data?: number[];
    attributes?: Record<string, number | string>;
    domain?: string;
  } = {},
): Case => ({
  name: `${opType} ${JSON.stringify(attributes)}`,
  nodes: [node(opType, ['x'], ['y'], { attributes, ...('domain' in rest ? { domain: rest.domain } : {}) })],
  inputs: { x: { dims: [2, 4], data } },
  ...rest,
});

const single = { type: 'float32' } as const;
const contrib = { ...single, domain: 'com.microsoft' };

export const elementwise: Case[] = [
  ...['Add', 'Sub', 'Mul', 'Div'].flatMap((opType) => [
    binary(opType, [2, 3], [2, 3]),
    binary(opType, [2, 1, 3], [4, 1]),
    binary(opType, [], [2, 2]),
    binary(opType, [3], [1]),
    binary(opType, [0, 3], [1, 3]),
  ]),
  ...['Max', 'Min', 'Sum', 'Mean'].map((opType): Case => ({
    name: opType,
    nodes: [node(opType, ['a', 'b', 'c'], ['y'])],
    inputs: { a: [2, 3], b: [3], c: [2, 1] },
    ...(opType === 'Mean' ? single : {}),
  })),
  {
    name: 'a value with itself',
    nodes: [node('Mul', ['x', 'x'], ['square']), node('Add', ['square', 'x'], ['y'])],
    inputs: { x: [3] },
  },
  {
    name: 'Pow',
    nodes: [node('Pow', ['a', 'b'], ['y'])],
    inputs: { a: { dims: [4], data: [0.5, 1, 2, 3] }, b: { dims: [2, 1], data: [2, -0.5] } },
  },
  {
    name: 'Pow of whole numbers',
    nodes: [node('Pow', ['a', 'b'], ['y'])],
    inputs: {
      a: { dims: [4], data: [-0.5, 0, 2, 3] },
      b: { dims: [3, 1], data: BigInt64Array.of(2n, 0n, 1n) },
    },
  },
  {
    name: 'Where',
    nodes: [node('Greater', ['a', 'limit'], ['condition']), node('Where', ['condition', 'a', 'b'], ['y'])],
    constants: [tensor('limit', [], Float64Array.of(0))],
    inputs: { a: [2, 3], b: [3] },
  },
  {
    name: 'PRelu',
    nodes: [node('PRelu', ['x', 'slope'], ['y'])],
    inputs: { x: { dims: [2, 4], data: signed }, slope: [4] },
    ...single,
  },
  {
    name: 'Clip',
    nodes: [node('Clip', ['x', 'low', 'high'], ['y'])],
    inputs: {
      x: { dims: [2, 4], data: signed },
      low: { dims: [], data: [-1] },
      high: { dims: [], data: [1] },
    },
  },
  {
    name: 'Clip from above',
    nodes: [node('Clip', ['x', '', 'high'], ['y'])],
    inputs: { x: { dims: [2, 4], data: signed }, high: { dims: [], data: [1] } },
  },
  ...['Neg', 'Exp', 'Sin', 'Cos', 'Tanh', 'Sigmoid', 'Abs', 'Relu'].map((opType) => unary(opType)),
  ...['Sqrt', 'Reciprocal', 'Log'].map((opType) => unary(opType, { data: positive })),
  ...['Erf', 'Selu', 'HardSwish', 'Mish', 'Softplus', 'Softsign'].map((opType) => unary(opType, single)),
  unary('Elu', { ...single, attributes: { alpha: 0.5 } }),
  unary('Celu', { ...single, attributes: { alpha: 0.5 } }),
  unary('LeakyRelu', { ...single, attributes: { alpha: 0.3 } }),
  unary('ThresholdedRelu', { ...single, attributes: { alpha: 0.5 } }),
  unary('HardSigmoid', { ...single, attributes: { alpha: 0.25 } }),
  unary('Gelu', single),
  unary('Gelu', { attributes: { approximate: 'tanh' } }),
  unary('Gelu', contrib),
  unary('QuickGelu', { ...contrib, attributes: { alpha: 1.5 } }),
  unary('Swish', { attributes: { alpha: 1.5 }, opset: 24 }),
  ...['FastGelu', 'BiasGelu'].map((opType): Case => ({
    name: opType,
    nodes: [node(opType, ['x', 'bias'], ['y'], { domain: 'com.microsoft' })],
    inputs: { x: { dims: [2, 4], data: signed }, bias: [4] },
    ...single,
  })),
  {
    name: 'FastGelu without a bias',
    nodes: [node('FastGelu', ['x'], ['y'], { domain: 'com.microsoft' })],
    inputs: { x: { dims: [2, 4], data: signed } },
    ...single,
  },
];
