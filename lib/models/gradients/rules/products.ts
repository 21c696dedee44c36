import { floatAttribute, intAttribute, textAttribute } from '../../../containers/onnx/graph';
import type { NodeProto } from '../../../containers/onnx/onnx_pb';
import type { Builder } from '../builder';
import { inputsOf, type Rule } from '../rule';

/** Rows of a stack below each other. */
const stacked = (build: Builder, value: string) => build.op('Flatten', [value], { axis: -1n });

/** Cotangents of a product of matrices of ranks 2 and more; g is that of the product. */
function ofMatrices(build: Builder, a: string, b: string, g: string) {
  const isOne = (value: string) => build.rankOf(value) === 2;
  return {
    left() {
      const product = build.op('MatMul', [g, build.swapped(b)]);
      return isOne(b) ? product : build.reducedTo(a, product, product);
    },
    right() {
      // One matrix for all rows.
      if (isOne(b) && !isOne(a))
        return build.op('MatMul', [build.transpose(stacked(build, a), [1, 0]), stacked(build, g)]);
      const product = build.op('MatMul', [build.swapped(a), g]);
      return build.reducedTo(b, product, product);
    },
  };
}

const matMul: Rule = {
  inputs: () => [0, 1],
  pull({ inputs: [a, b], cotangent, build }) {
    // A vector is a row on the left and a column on the right.
    const [row, column] = [build.rankOf(a!) === 1, build.rankOf(b!) === 1];
    const left = row ? build.unsqueeze(a!, [0]) : a!;
    const right = column ? build.unsqueeze(b!, [1]) : b!;
    let g = cotangent;
    if (column) g = build.unsqueeze(g, [-1]);
    if (row) g = build.unsqueeze(g, [-2]);
    const of = ofMatrices(build, left, right, g);
    return {
      0: () => (row ? build.squeeze(of.left(), [0]) : of.left()),
      1: () => (column ? build.squeeze(of.right(), [1]) : of.right()),
    };
  },
};

/** alpha · A'B', each transposed or not. */
const fusedMatMul: Rule = {
  inputs: () => [0, 1],
  unfit: (node) =>
    intAttribute(node, 'transBatchA', 0) !== 0 || intAttribute(node, 'transBatchB', 0) !== 0
      ? 'batches are transposed'
      : undefined,
  pull({ node, inputs: [a, b], cotangent, build }) {
    const [turnsA, turnsB] = ['transA', 'transB'].map((name) => intAttribute(node, name, 0) !== 0);
    const g = build.mul(cotangent, floatAttribute(node, 'alpha', 1));
    const turned = (value: string, turns: boolean | undefined) => (turns ? build.swapped(value) : value);
    const of = ofMatrices(build, turned(a!, turnsA), turned(b!, turnsB), g);
    return { 0: () => turned(of.left(), turnsA), 1: () => turned(of.right(), turnsB) };
  },
};

/** alpha · A'B' + beta · C. */
const gemm: Rule = {
  inputs: inputsOf,
  pull({ node, inputs: [a, b, c], outputs: [y], cotangent: g, build }) {
    const [turnsA, turnsB] = ['transA', 'transB'].map((name) => intAttribute(node, name, 0) !== 0);
    const alpha = floatAttribute(node, 'alpha', 1);
    const product = (left: string, transA: boolean, right: string, transB: boolean) =>
      build.op('Gemm', [left, right], {
        ...{ alpha, transA: transA ? 1n : 0n, transB: transB ? 1n : 0n },
      });
    return {
      0: () => (turnsA ? product(b!, turnsB!, g, true) : product(g, false, b!, !turnsB)),
      1: () => (turnsB ? product(g, true, a!, turnsA!) : product(a!, !turnsA, g, false)),
      2: () => build.reducedTo(c!, y!, build.mul(g, floatAttribute(node, 'beta', 1))),
    };
  },
};

const equationOf = (node: NodeProto) => {
  const [left, right] = textAttribute(node, 'equation', '').replaceAll(' ', '').split('->');
  return { operands: left!.split(','), result: right };
};

/** Where each index is in two of result and operands, and in none twice, cotangents are such sums too. */
const einsum: Rule = {
  inputs: inputsOf,
  unfit(node) {
    const { operands, result } = equationOf(node);
    const all = [...operands, result ?? ''];
    const isPlain = all.every(
      (letters) => /^[a-zA-Z]*$/.test(letters) && new Set(letters).size === letters.length,
    );
    const isShared = operands.every((letters, i) =>
      [...letters].every((letter) => all.some((others, j) => j !== i && others.includes(letter))),
    );
    return isPlain && isShared && result !== undefined
      ? undefined
      : 'its equation is of a kind without a rule';
  },
  pull({ node, inputs, cotangent, build }) {
    const { operands, result } = equationOf(node);
    return operands.map((own, i) => () => {
      const others = operands.flatMap((letters, j) => (j === i ? [] : [{ letters, value: inputs[j]! }]));
      const given = [{ letters: result!, value: cotangent }, ...others];
      return build.op(
        'Einsum',
        given.map(({ value }) => value),
        { equation: `${given.map(({ letters }) => letters).join()}->${own}` },
      );
    });
  },
};

export const products: Readonly<Record<string, Rule>> = {
  MatMul: matMul,
  Gemm: gemm,
  Einsum: einsum,
  'com.microsoft.FusedMatMul': fusedMatMul,
};
