import { node } from '../../../../lib/containers/onnx/make';
import type { Case, Simple } from '../check';

const of = (
  opType: string,
  inputs: Record<string, number[]>,
  attributes: Record<string, Simple> = {},
  rest: Partial<Case> = {},
): Case => ({
  name: `${opType} ${Object.values(attributes).map(String).join()}`,
  nodes: [node(opType, Object.keys(inputs), ['y'], { attributes })],
  inputs,
  ...rest,
});

const skip = (opType: string, inputs: (string | [string, number[]])[], outputs: string[]): Case => ({
  name: `${opType} ${outputs.join()}`,
  nodes: [
    node(
      opType,
      inputs.map((input) => (typeof input === 'string' ? input : input[0])),
      ['y', '', '', 'sum'].slice(0, outputs.includes('sum') ? 4 : 1),
      {
        domain: 'com.microsoft',
      },
    ),
  ],
  inputs: Object.fromEntries(inputs.filter((input) => typeof input !== 'string')),
  outputs,
  type: 'float32',
});

const tokens = [2, 2, 4];

export const normalisations: Case[] = [
  of('LayerNormalization', { x: [2, 3, 4], factor: [4], shift: [4] }),
  of('LayerNormalization', { x: [2, 3, 4], factor: [3, 4] }, { axis: 1n, epsilon: 0.1 }, { needs: 'ranks' }),
  of('SimplifiedLayerNormalization', { x: [2, 3, 4], factor: [4] }, { epsilon: 0.1 }),
  of('RMSNormalization', { x: [2, 3, 4], factor: [4] }, { epsilon: 0.1 }, { opset: 23 }),
  skip(
    'SkipLayerNormalization',
    [
      ['x', tokens],
      ['skip', tokens],
      ['factor', [4]],
      ['shift', [4]],
      ['bias', [4]],
    ],
    ['y', 'sum'],
  ),
  skip(
    'SkipLayerNormalization',
    [
      ['x', tokens],
      ['skip', tokens],
      ['factor', [4]],
    ],
    ['y'],
  ),
  skip(
    'SkipSimplifiedLayerNormalization',
    [
      ['x', tokens],
      ['skip', tokens],
      ['factor', [4]],
      ['bias', [4]],
    ],
    ['y', 'sum'],
  ),
  skip(
    'SkipSimplifiedLayerNormalization',
    [
      ['x', tokens],
      ['skip', tokens],
      ['factor', [4]],
    ],
    ['sum'],
  ),
  {
    name: 'BatchNormalization',
    nodes: [node('BatchNormalization', ['x', 'factor', 'shift', 'mean', 'variance'], ['y'])],
    inputs: { x: [2, 3, 2], factor: [3], shift: [3], mean: [3], variance: { dims: [3], data: [0.5, 1, 2] } },
  },
  of('InstanceNormalization', { x: [2, 2, 2, 2], factor: [2], shift: [2] }, {}, { type: 'float32' }),
  of(
    'GroupNormalization',
    { x: [2, 4, 3], factor: [4], shift: [4] },
    { num_groups: 2n },
    { needs: 'ranks', type: 'float32' },
  ),
  of('LpNormalization', { x: [2, 3] }, { p: 2n }),
  of('LpNormalization', { x: [2, 3] }, { p: 1n, axis: 0n }),
];
