import { node } from '../../../../lib/models/onnx/make';
import type { Case } from '../check';

const binary = (opType: string, a: number[], b: number[]): Case => ({
  name: `${opType} ${a.join()} ${b.join()}`,
  nodes: [node(opType, ['a', 'b'], ['y'])],
  inputs: { a, b },
});

export const elementwise: Case[] = ['Add', 'Sub', 'Mul', 'Div'].flatMap((opType) => [
  binary(opType, [2, 3], [2, 3]),
  binary(opType, [2, 1, 3], [4, 1]),
  binary(opType, [], [2, 2]),
  binary(opType, [3], [1]),
  binary(opType, [0, 3], [1, 3]),
]);
