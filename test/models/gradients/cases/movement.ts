import { node, tensor } from '../../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../../../lib/containers/onnx/onnx_pb';
import type { Case, Simple } from '../check';

/** An operator of x and lists of integers. */
const of = (
  opType: string,
  x: number[],
  lists: (number[] | null)[] = [],
  attributes: Record<string, Simple> = {},
  rest: Partial<Case> = {},
): Case => ({
  name: `${opType} ${x.join()} ${lists.map((list) => `[${list?.join() ?? ''}]`).join(' ')} ${Object.values(attributes).map(String).join()}`,
  nodes: [node(opType, ['x', ...lists.map((list, i) => (list ? `l${i}` : ''))], ['y'], { attributes })],
  constants: lists.flatMap((list, i) =>
    list ? [tensor(`l${i}`, [list.length], BigInt64Array.from(list, BigInt))] : [],
  ),
  inputs: { x },
  ...rest,
});

const end = 2 ** 31 - 1;

/** An operator of x and indices of any shape. */
const at = (
  opType: string,
  x: number[],
  dims: number[],
  indices: number[],
  attributes: Record<string, Simple> = {},
): Case => ({
  name: `${opType} ${x.join()} at ${dims.join()}`,
  nodes: [node(opType, ['x', 'i'], ['y'], { attributes })],
  inputs: { x, i: { dims, data: BigInt64Array.from(indices, BigInt) } },
});

const put = (
  opType: string,
  dims: number[],
  indices: number[],
  updates: number[],
  attributes: Record<string, Simple>,
): Case => ({
  name: `${opType} ${Object.values(attributes).map(String).join()}`,
  nodes: [node(opType, ['x', 'i', 'u'], ['y'], { attributes })],
  inputs: { x: [3, 2], i: { dims, data: BigInt64Array.from(indices, BigInt) }, u: updates },
});

export const movement: Case[] = [
  of('Identity', [2, 3]),
  of('Dropout', [2, 3]),
  {
    name: 'Cast',
    nodes: [
      node('Cast', ['x'], ['single'], { attributes: { to: BigInt(DataType.FLOAT) } }),
      node('CastLike', ['single', 'x'], ['y']),
    ],
    inputs: { x: [2, 3] },
    step: 0.5,
  },
  of('Reshape', [2, 6], [[0, 2, -1]]),
  of('Reshape', [0, 3], [[3, 0]], { allowzero: 1n }),
  of('Flatten', [2, 3, 2], [], { axis: 2n }),
  of('Squeeze', [2, 1, 3], [[1]]),
  of('Squeeze', [2, 1, 3]),
  of('Unsqueeze', [2, 3], [[0, -1]]),
  of('Transpose', [2, 3, 4], [], { perm: [2n, 0n, 1n] }),
  of('Transpose', [2, 3, 4]),
  ...[0n, -1n].map((axis): Case => ({
    name: `Concat ${axis}`,
    nodes: [node('Concat', ['a', 'b', 'c'], ['y'], { attributes: { axis } })],
    inputs: axis === 0n ? { a: [2, 2], b: [0, 2], c: [1, 2] } : { a: [2, 2], b: [2, 1], c: [2, 3] },
  })),
  {
    name: 'Concat of one',
    nodes: [node('Concat', ['x'], ['y'], { attributes: { axis: 0n } })],
    inputs: { x: [2] },
  },
  {
    name: 'Split',
    nodes: [node('Split', ['x', 'sizes'], ['y', 'middle', 'z'], { attributes: { axis: -1n } })],
    constants: [tensor('sizes', [3], BigInt64Array.of(1n, 2n, 1n))],
    inputs: { x: [2, 4] },
    outputs: ['y', 'z'],
  },
  of('Slice', [4, 5], [[1], [3]]),
  of(
    'Slice',
    [4, 5],
    [
      [1, -2],
      [end, end],
      [1, 0],
    ],
  ),
  of('Slice', [4, 5], [[-4], [-1], [1]]),
  of('Slice', [4, 5], [[-1], [-end], [1], [-2]]),
  of('Slice', [4, 5], [[3], [3], [0]]),
  of('Slice', [4, 5], [[9], [end], [0]]),
  {
    name: 'Pad',
    nodes: [node('Pad', ['x', 'pads', 'value'], ['y'])],
    constants: [tensor('pads', [4], BigInt64Array.of(1n, 0n, 2n, 1n))],
    inputs: { x: [2, 3], value: [] },
  },
  of('Pad', [2, 3], [[1, 2], null, [1]], {}),
  ...['reflect', 'edge', 'wrap'].map((mode) => of('Pad', [2, 3], [[0, 1, 1, 2]], { mode })),
  of('Expand', [3, 1], [[2, 1, 4]]),
  of('Tile', [2, 3], [[2, 2]]),
  at('Gather', [3, 4], [2, 2], [0, -1, 2, 0]),
  at('Gather', [3, 4], [2], [1, 1], { axis: 1n }),
  at('Gather', [3, 4], [], [1], { axis: -1n }),
  at('Gather', [3, 4], [0], []),
  at('GatherElements', [3, 2], [2, 2], [0, 2, 0, -1]),
  at('GatherND', [3, 2], [3, 2], [0, 1, 2, 0, 0, 1]),
  at('GatherND', [3, 2], [2, 1], [2, 2]),
  at('GatherND', [2, 3], [2, 1], [1, 2], { batch_dims: 1n }),
  put('ScatterND', [2, 1], [2, 0], [2, 2], {}),
  put('ScatterND', [3, 1], [2, 0, 2], [3, 2], { reduction: 'add' }),
  put('ScatterElements', [2, 2], [2, 0, 1, 1], [2, 2], { axis: 0n }),
  put('ScatterElements', [1, 3], [1, 1, 0], [1, 3], { axis: 1n, reduction: 'add' }),
  ...[0n, 1n].map((largest): Case => ({
    name: `TopK ${largest}`,
    nodes: [node('TopK', ['x', 'count'], ['y', 'indices'], { attributes: { axis: 1n, largest } })],
    constants: [tensor('count', [1], BigInt64Array.of(2n))],
    inputs: { x: [2, 4] },
  })),
  {
    name: 'Resize to the nearest',
    nodes: [
      node('Resize', ['x', '', 'scales'], ['y'], {
        attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
      }),
    ],
    constants: [tensor('scales', [4], Float32Array.of(1, 1, 2, 3))],
    inputs: { x: [1, 2, 2, 2] },
    type: 'float32',
    step: 0.5,
  },
  of('DepthToSpace', [1, 8, 1, 2], [], { blocksize: 2n }),
  of('SpaceToDepth', [1, 2, 2, 4], [], { blocksize: 2n }),
  of('Trilu', [2, 3, 3], [], { upper: 0n }),
];
