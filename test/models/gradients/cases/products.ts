import { node } from '../../../../lib/containers/onnx/make';
import type { Case } from '../check';

const matMul = (name: string, a: number[], b: number[], needs?: 'ranks'): Case => ({
  name: `MatMul ${name}`,
  nodes: [node('MatMul', ['a', 'b'], ['y'])],
  inputs: { a, b },
  ...(needs ? { needs } : {}),
});

const einsum = (equation: string, inputs: Record<string, number[]>): Case => ({
  name: `Einsum ${equation}`,
  nodes: [node('Einsum', Object.keys(inputs), ['y'], { attributes: { equation } })],
  inputs,
});

const fused = (transA: bigint, transB: bigint): Case => ({
  name: `FusedMatMul ${transA} ${transB}`,
  nodes: [
    node('FusedMatMul', ['a', 'b'], ['y'], {
      domain: 'com.microsoft',
      attributes: { transA, transB, alpha: 0.5 },
    }),
  ],
  inputs: { a: transA ? [2, 4, 3] : [2, 3, 4], b: transB ? [2, 2, 4] : [2, 4, 2] },
  type: 'float32',
  step: 0.5,
});

const flags = [0n, 1n].flatMap((first) => [0n, 1n].map((second) => [first, second] as const));

export const products: Case[] = [
  matMul('of two matrices', [3, 4], [4, 2]),
  matMul('of stacks', [2, 3, 4], [2, 4, 2]),
  matMul('of stacks that are repeated', [2, 1, 3, 4], [5, 4, 2]),
  matMul('of rows and a matrix', [2, 3, 4], [4, 2]),
  matMul('of a matrix and a stack', [3, 4], [2, 4, 2]),
  matMul('of nothing', [0, 4], [4, 2]),
  ...flags.map(([transA, transB]): Case => ({
    name: `Gemm ${transA} ${transB}`,
    nodes: [node('Gemm', ['a', 'b', 'c'], ['y'], { attributes: { transA, transB, alpha: 0.5, beta: 2.5 } })],
    inputs: { a: transA ? [4, 3] : [3, 4], b: transB ? [2, 4] : [4, 2], c: [2] },
  })),
  ...flags.map(([transA, transB]) => fused(transA, transB)),
  einsum('bij,bjk->bik', { a: [2, 3, 2], b: [2, 2, 3] }),
  einsum('ab,bc,cd->ad', { a: [2, 3], b: [3, 2], c: [2, 2] }),
  einsum('ij->ji', { a: [2, 3] }),
];
