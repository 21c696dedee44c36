import test from 'ava';
import fc from 'fast-check';
import type { VertexqError } from '../../../lib/errors';
import { gradientOf, type Part } from '../../../lib/models/gradients';
import { Graph } from '../../../lib/containers/onnx/graph';
import { node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../../lib/containers/onnx/onnx_pb';
import { float, network, type Parts } from '../networks';
import { check } from './check';

function gradient(parts: Partial<Parts> & Pick<Parts, 'nodes'>, rest: Partial<Part> = {}) {
  const graph = new Graph(network({ constants: [], ...parts }), 'a test');
  return gradientOf({
    ...{ graph, opset: 17, nodes: graph.order, outputs: ['y'], wanted: ['x'], prefix: 'g/' },
    ...rest,
  });
}

const unary = (opType: string, from: string, to: string) => node(opType, [from], [to]);

test('a node without a rule takes the values behind it, and no others', (t) => {
  const { results, missing } = gradient(
    {
      nodes: [
        unary('Exp', 'x', 'a'),
        unary('Invented', 'a', 'b'),
        unary('Sin', 'b', 'c'),
        // Besides, a way that has all its rules.
        node('Add', ['c', 'x'], ['sum']),
        node('Mul', ['sum', 'z'], ['y']),
      ],
      inputs: [float('x'), float('z')],
    },
    { wanted: ['x', 'a', 'b', 'c', 'z'] },
  );
  t.deepEqual([...results.keys()], ['b', 'c', 'z']);
  t.deepEqual(missing, [{ node: 'b', operator: 'Invented', reason: undefined, values: ['x', 'a'] }]);
});

test('a node without a rule beside the way to what is asked for is none of it', (t) => {
  const { results, missing } = gradient({
    nodes: [unary('Invented', 'z', 'w'), unary('Invented', 'x', 'aside'), node('Mul', ['x', 'w'], ['y'])],
    inputs: [float('x'), float('z')],
  });
  t.deepEqual([...results.keys()], ['x']);
  t.deepEqual(missing, []);
});

test('why a rule does not hold is told', (t) => {
  const { missing } = gradient({
    nodes: [node('ScatterND', ['x', 'i', 'u'], ['y'], { attributes: { reduction: 'mul' } })],
    inputs: [float('x'), valueInfo('i', DataType.INT64), float('u')],
  });
  t.deepEqual(missing, [
    { node: 'y', operator: 'ScatterND', reason: 'its reduction is "mul"', values: ['x'] },
  ]);
});

test('ways through a node that its rule is not about are told', (t) => {
  const norm = node('LayerNormalization', ['x', 'factor'], ['normed', 'mean']);
  const parts = {
    constants: [tensor('factor', [2], Float32Array.of(1, 2))],
    inputs: [float('x'), float('z')],
  };
  const both = gradient({ ...parts, nodes: [norm, node('Mul', ['normed', 'mean'], ['y'])] });
  t.deepEqual([both.results.size, both.missing.map(({ reason }) => reason)], [0, ['of its outputs "mean"']]);
  const one = gradient({ ...parts, nodes: [norm, unary('Exp', 'normed', 'y')] });
  t.deepEqual([one.results.size, one.missing], [1, []]);
  const turned = gradient(
    { ...parts, nodes: [node('RotaryEmbedding', ['x', 'z', 'z'], ['y'])] },
    { wanted: ['x', 'z'] },
  );
  t.deepEqual([...turned.results.keys()], ['x']);
  t.deepEqual(
    turned.missing.map(({ reason, values }) => [reason, values]),
    [['of its inputs "z","z"', ['z']]],
  );
});

test('a Dropout that may be in training is told', (t) => {
  for (const [value, count] of [
    [0, 0],
    [1, 1],
  ] as const) {
    const training = tensor('training', [], Uint8Array.of(value));
    training.dataType = DataType.BOOL;
    const { missing } = gradient({
      nodes: [node('Dropout', ['x', '', 'training'], ['y'])],
      constants: [training],
    });
    t.is(missing.length, count);
  }
});

test('nothing flows through integers, shapes and conditions, nor to what no output depends on', (t) => {
  const { results, missing, nodes, cotangents } = gradient(
    {
      nodes: [
        node('Cast', ['x'], ['whole'], { attributes: { to: BigInt(DataType.INT64) } }),
        unary('Shape', 'x', 'shape'),
        node('Reshape', ['whole', 'shape'], ['places']),
        node('Gather', ['table', 'places'], ['y']),
        unary('Exp', 'z', 'other'),
      ],
      inputs: [float('x'), float('z')],
      constants: [tensor('table', [2, 2], Float32Array.of(1, 2, 3, 4))],
    },
    { wanted: ['x', 'z', 'whole'] },
  );
  t.deepEqual([results.size, missing.length, nodes.length, cotangents.size], [0, 0, 0, 0]);
});

test('outputs that are asked for, or used again, have what flows to them and through them', async (t) => {
  await check(t, {
    name: 'an output in the middle',
    nodes: [unary('Exp', 'x', 'a'), unary('Sin', 'a', 'y'), node('Mul', ['y', 'x'], ['z'])],
    inputs: { x: [3] },
    outputs: ['a', 'y', 'z'],
  });
  const { results, cotangents } = gradient({ nodes: [unary('Exp', 'x', 'y')] }, { wanted: ['y'] });
  t.not(results.get('y'), cotangents.get('y'));
});

test('results are distinct, so that a runtime can give them all out', (t) => {
  const { results } = gradient(
    { nodes: [node('Add', ['x', 'z'], ['y'])], inputs: [float('x', [2]), float('z', [2])] },
    { wanted: ['x', 'z', 'y'] },
  );
  t.is(new Set(results.values()).size, 3);
});

test('an initializer has a cotangent where it is asked for', (t) => {
  const constants = [tensor('w', [2, 2], Float32Array.of(1, 2, 3, 4))];
  const parts = { nodes: [node('MatMul', ['x', 'w'], ['y'])], constants };
  t.deepEqual([...gradient(parts, { wanted: ['w'] }).results.keys()], ['w']);
  t.deepEqual([...gradient(parts).results.keys()], ['x']);
});

test('networks of older operators are told apart', (t) => {
  const error = t.throws<VertexqError>(() => gradient({ nodes: [unary('Exp', 'x', 'y')] }, { opset: 13 }));
  t.is(error?.code, 'ERR_VERTEXQ_UNSUPPORTED');
  t.regex(error.message, /a test: gradients need version 16 of ONNX's operators or later, and .* in 13/);
});

test('any repetition is undone', async (t) => {
  // Dimensions of a whole, and for each operand how many of them it has, and which of these are 1.
  const shape = fc.array(fc.constantFrom(0, 1, 2, 3), { maxLength: 3 });
  const cut = fc.record({ from: fc.nat(3), ones: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }) });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom('Add', 'Mul', 'Sub'), shape, cut, cut, async (opType, whole, a, b) => {
      const of = ({ from, ones }: typeof a) => whole.map((dim, i) => (ones[i] ? 1 : dim)).slice(from);
      await check(t, {
        name: opType,
        nodes: [node(opType, ['a', 'b'], ['y'])],
        inputs: { a: of(a), b: of(b) },
      });
    }),
    { numRuns: 12 },
  );
});

test('products of any ranks', async (t) => {
  const batch = fc.array(fc.constantFrom(1, 2), { maxLength: 2 });
  const size = fc.integer({ min: 0, max: 3 });
  await fc.assert(
    fc.asyncProperty(batch, batch, size, size, size, fc.boolean(), async (left, right, m, k, n, isShared) => {
      const rank = Math.min(left.length, right.length);
      // Equal from the end, or 1.
      for (let i = 1; i <= rank; i++)
        if (left.at(-i) !== 1 && right.at(-i) !== 1) right[right.length - i] = left.at(-i)!;
      await check(t, {
        name: 'MatMul',
        nodes: [node('MatMul', ['a', 'b'], ['y'])],
        inputs: { a: [...left, m, k], b: [...(isShared ? [] : right), k, n] },
      });
    }),
    { numRuns: 10 },
  );
});

test('a vector is a row or a column', async (t) => {
  for (const [a, b] of [
    [[3], [3, 2]],
    [[2, 3], [3]],
    [[3], [3]],
    [[2, 2, 3], [3]],
    [[3], [2, 3, 2]],
  ] as const)
    await check(t, {
      name: 'MatMul',
      nodes: [node('MatMul', ['a', 'b'], ['y'])],
      inputs: { a: [...a], b: [...b] },
      isRankKnown: true,
    });
});
