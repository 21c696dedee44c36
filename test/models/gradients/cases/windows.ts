import { node } from '../../../../lib/containers/onnx/make';
import type { Case, Simple } from '../check';

const linear = { type: 'float32', step: 0.5 } as const;

const of = (
  opType: string,
  inputs: Record<string, number[]>,
  attributes: Record<string, Simple>,
  rest: Partial<Case> = {},
): Case => ({
  name: `${opType} ${Object.values(inputs).join(' ')} ${Object.values(attributes).map(String).join()}`,
  nodes: [node(opType, Object.keys(inputs), ['y'], { attributes })],
  inputs,
  ...linear,
  ...rest,
});

const kernel = (...sizes: number[]) => ({ kernel_shape: sizes.map(BigInt) });

export const windows: Case[] = [
  of('Conv', { x: [2, 2, 5], w: [3, 2, 2], b: [3] }, kernel(2)),
  of(
    'Conv',
    { x: [1, 2, 6, 5], w: [2, 2, 3, 2] },
    { ...kernel(3, 2), strides: [2n, 2n], pads: [1n, 0n, 0n, 1n] },
  ),
  of(
    'Conv',
    { x: [2, 4, 7], w: [4, 2, 2], b: [4] },
    { ...kernel(2), group: 2n, strides: [3n], dilations: [2n], pads: [1n, 2n] },
  ),
  of('Conv', { x: [1, 2, 6], w: [2, 1, 3] }, { ...kernel(3), group: 2n, auto_pad: 'SAME_UPPER' }),
  of(
    'Conv',
    { x: [1, 4, 5, 4], w: [6, 2, 2, 3] },
    { ...kernel(2, 3), group: 2n, dilations: [2n, 1n], pads: [1n, 0n, 0n, 2n] },
  ),
  of('Conv', { x: [1, 2, 3], w: [2, 2, 1] }, { ...kernel(1), pads: [1n, 1n] }),
  of(
    'Conv',
    { x: [1, 1, 6], w: [1, 1, 3] },
    { ...kernel(3), strides: [2n], auto_pad: 'SAME_LOWER' },
    { needs: 'sizes' },
  ),
  of('Conv', { x: [1, 1, 4], w: [2, 1, 2] }, {}, { needs: 'sizes' }),
  of('ConvTranspose', { x: [2, 2, 3], w: [2, 3, 2], b: [3] }, kernel(2)),
  of(
    'ConvTranspose',
    { x: [1, 4, 3], w: [4, 2, 3] },
    { ...kernel(3), group: 2n, strides: [2n], pads: [1n, 0n], output_padding: [1n] },
  ),
  of('AveragePool', { x: [2, 2, 6] }, { ...kernel(2), strides: [2n] }),
  of('AveragePool', { x: [1, 2, 5, 4] }, { ...kernel(3, 2), strides: [2n, 1n], pads: [1n, 1n, 1n, 0n] }),
  of('AveragePool', { x: [1, 1, 5] }, { ...kernel(3), strides: [2n], pads: [1n, 1n], count_include_pad: 1n }),
  of('MaxPool', { x: [2, 2, 7] }, { ...kernel(3), strides: [2n] }, { step: 1e-3, tolerance: 1e-2 }),
  of(
    'MaxPool',
    { x: [1, 2, 4, 4] },
    { ...kernel(2, 2), pads: [1n, 0n, 0n, 1n] },
    { step: 1e-3, tolerance: 1e-2 },
  ),
  of('GlobalAveragePool', { x: [2, 2, 3, 2] }, {}),
  of('GlobalMaxPool', { x: [2, 2, 3] }, {}, { step: 1e-3, tolerance: 1e-2 }),
];
