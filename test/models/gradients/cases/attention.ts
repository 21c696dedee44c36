import { node } from '../../../../lib/models/onnx/make';
import type { Case } from '../check';

export const attention: Case[] = [
  {
    name: 'RotaryEmbedding of com.microsoft',
    nodes: [node('RotaryEmbedding', ['x', 'places', 'cosine', 'sine'], ['y'], { domain: 'com.microsoft' })],
    inputs: {
      x: [1, 2, 3, 4],
      places: { dims: [1, 3], data: BigInt64Array.of(0n, 1n, 2n) },
      cosine: [4, 2],
      sine: [4, 2],
    },
    wanted: ['x'],
    type: 'float32',
    step: 0.5,
  },
  {
    name: 'RotaryEmbedding',
    nodes: [
      node('RotaryEmbedding', ['x', 'cosine', 'sine', 'places'], ['y'], { attributes: { interleaved: 1n } }),
    ],
    inputs: {
      x: [1, 2, 3, 4],
      cosine: [4, 2],
      sine: [4, 2],
      places: { dims: [1, 3], data: BigInt64Array.of(0n, 1n, 2n) },
    },
    wanted: ['x'],
    type: 'float32',
    step: 0.5,
    opset: 23,
  },
];
