import { node } from '../../../../lib/containers/onnx/make';
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
  {
    name: 'MultiHeadAttention',
    nodes: [
      node('MultiHeadAttention', ['q', 'k', 'v'], ['y'], {
        domain: 'com.microsoft',
        attributes: { num_heads: 2n },
      }),
    ],
    inputs: { q: [2, 3, 4], k: [2, 2, 4], v: [2, 2, 6] },
    type: 'float32',
    needs: 'sizes',
  },
  {
    name: 'MultiHeadAttention with biases',
    nodes: [
      node('MultiHeadAttention', ['q', 'k', 'v', 'bias', '', 'added'], ['y'], {
        domain: 'com.microsoft',
        attributes: { num_heads: 2n, scale: 0.75 },
      }),
    ],
    inputs: { q: [2, 3, 4], k: [2, 3, 4], v: [2, 3, 4], bias: [12], added: [1, 2, 3, 3] },
    type: 'float32',
    needs: 'ranks',
  },
];
