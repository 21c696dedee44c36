import { node, tensor } from '../../../../lib/containers/onnx/make';
import type { Case } from '../check';

const data = [0.5, 1.25, 2, 0.75, 3, 1.5, 0.25, 2.5, 1.75, 1, 0.6, 2.25];
const operators = 'Sum Mean Max Min L1 L2 SumSquare LogSum LogSumExp'
  .split(' ')
  .map((name) => `Reduce${name}`);

const over = (opType: string, axes: number[] | null, keepdims: bigint, opset = 21): Case => ({
  name: `${opType} over ${axes?.join() ?? 'all'}, ${keepdims}, ${opset}`,
  nodes: [
    node(opType, axes && opset >= 18 ? ['x', 'axes'] : ['x'], ['y'], {
      attributes: { keepdims, ...(axes && opset < 18 ? { axes: axes.map(BigInt) } : {}) },
    }),
  ],
  constants: axes ? [tensor('axes', [axes.length], BigInt64Array.from(axes, BigInt))] : [],
  inputs: { x: { dims: [2, 2, 3], data } },
  opset,
});

const along = (opType: string, axis: bigint): Case => ({
  name: `${opType} along ${axis}`,
  nodes: [node(opType, ['x'], ['y'], { attributes: { axis } })],
  inputs: { x: [2, 2, 3] },
});

export const reductions: Case[] = [
  ...operators.flatMap((opType) => [
    over(opType, [-1], 1n),
    over(opType, [0, 2], 0n),
    over(opType, null, 0n),
    over(opType, null, 1n),
  ]),
  over('ReduceMean', [1, -1], 0n, 17),
  over('ReduceMax', [1], 1n, 17),
  {
    name: 'ReduceSum of nothing',
    nodes: [node('ReduceSum', ['x'], ['y'], { attributes: { noop_with_empty_axes: 1n } })],
    inputs: { x: [2, 3] },
  },
  { name: 'ReduceSum of no entries', nodes: [node('ReduceSum', ['x'], ['y'])], inputs: { x: [0, 3] } },
  ...['Softmax', 'LogSoftmax'].flatMap((opType) => [along(opType, -1n), along(opType, 1n)]),
  ...[0n, 1n].flatMap((exclusive) =>
    [0n, 1n].map((reverse): Case => ({
      name: `CumSum ${exclusive} ${reverse}`,
      nodes: [node('CumSum', ['x', 'axis'], ['y'], { attributes: { exclusive, reverse } })],
      constants: [tensor('axis', [], BigInt64Array.of(1n))],
      inputs: { x: [2, 3] },
    })),
  ),
];
