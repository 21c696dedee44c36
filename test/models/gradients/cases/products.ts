import { node } from '../../../../lib/models/onnx/make';
import type { Case } from '../check';

const matMul = (name: string, a: number[], b: number[]): Case => ({
  name: `MatMul ${name}`,
  nodes: [node('MatMul', ['a', 'b'], ['y'])],
  inputs: { a, b },
});

export const products: Case[] = [
  matMul('of two matrices', [3, 4], [4, 2]),
  matMul('of stacks', [2, 3, 4], [2, 4, 2]),
  matMul('of stacks that are repeated', [2, 1, 3, 4], [5, 4, 2]),
  matMul('of rows and a matrix', [2, 3, 4], [4, 2]),
  matMul('of nothing', [0, 4], [4, 2]),
  ...[0n, 1n].flatMap((transA) =>
    [0n, 1n].map((transB): Case => ({
      name: `Gemm ${transA} ${transB}`,
      nodes: [
        node('Gemm', ['a', 'b', 'c'], ['y'], { attributes: { transA, transB, alpha: 0.5, beta: 2.5 } }),
      ],
      inputs: { a: transA ? [4, 3] : [3, 4], b: transB ? [2, 4] : [4, 2], c: [2] },
    })),
  ),
];
