import test from 'ava';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import type { NodeProto, TensorProto } from '../../lib/containers/onnx/onnx_pb';
import { difference, feed, files, float, inFloat, network, random, readBack, run } from './networks';

const formats = ['matmulnbits', 'qdq', 'float'] as const;
const ints = (name: string, ...values: number[]) =>
  tensor(name, [values.length], BigInt64Array.from(values, BigInt));
const weight = (name: string, ...dims: number[]) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      name.length,
    ).map((value) => value + 0.1),
  );
const product = (value: string, output = 'y') => node('MatMul', ['x', value], [output]);
const conv = (value: string) => [
  node('Unsqueeze', ['x', 'last'], ['xu']),
  node('Conv', ['xu', value], ['y']),
];

/** Nodes, constants and the number of layers; `x` is [batch, 64]. */
const cases: Record<string, [NodeProto[], TensorProto[], number]> = {
  Concat: [
    [node('Concat', ['q', 'kk'], ['w'], { attributes: { axis: 1n } }), product('w')],
    [weight('q', 64, 32), weight('kk', 64, 64)],
    1,
  ],
  'Split, whose parts are all used': [
    [
      node('Split', ['w', 'sizes'], ['a', 'b'], { attributes: { axis: 1n } }),
      product('a', 'p'),
      product('b', 'q'),
      node('Concat', ['p', 'q'], ['y'], { attributes: { axis: 1n } }),
    ],
    [weight('w', 64, 96), ints('sizes', 32, 64)],
    2,
  ],
  'gates in another order: Slice, Concat, Unsqueeze': [
    [
      node('Slice', ['w', 'zero', 'half', 'zero'], ['a']),
      node('Slice', ['w', 'half', 'far', 'zero'], ['b']),
      node('Concat', ['b', 'a'], ['c'], { attributes: { axis: 0n } }),
      node('Unsqueeze', ['c', 'zero'], ['d']),
      node('Unsqueeze', ['x', 'zero'], ['xs']),
      node('RNN', ['xs', 'd', 'r'], ['', 'y'], { attributes: { hidden_size: 32n } }),
    ],
    [weight('w', 32, 64), weight('r', 1, 32, 32), ints('zero', 0), ints('half', 16), ints('far', 2 ** 40)],
    2,
  ],
  'Mul, Add, Sub, Neg': [
    [
      node('Mul', ['w', 'factor'], ['a']),
      node('Add', ['a', 'row'], ['b']),
      node('Neg', ['b'], ['c']),
      node('Sub', ['c', 'row'], ['d']),
      product('d'),
    ],
    [weight('w', 64, 32), tensor('factor', [], Float32Array.of(0.3)), weight('row', 32)],
    1,
  ],
  'weight norm by ReduceL2': [
    [
      node('ReduceL2', ['v'], ['n'], { attributes: { axes: [1n], keepdims: 1n } }),
      node('Div', ['v', 'n'], ['a']),
      node('Mul', ['a', 'g'], ['b']),
      node('Unsqueeze', ['b', 'last'], ['w']),
      ...conv('w'),
    ],
    [weight('v', 32, 64), weight('g', 32, 1), ints('last', 2)],
    1,
  ],
  'weight norm by ReduceSum and Sqrt, behind Transpose and Reshape': [
    [
      node('Mul', ['v', 'v'], ['s']),
      node('ReduceSum', ['s', 'one'], ['t']),
      node('Sqrt', ['t'], ['n']),
      node('Div', ['v', 'n'], ['a']),
      node('Transpose', ['a'], ['b'], { attributes: { perm: [1n, 0n] } }),
      node('Reshape', ['b', 'shape'], ['c']),
      node('Squeeze', ['c', 'one'], ['d']),
      product('d'),
    ],
    [weight('v', 32, 64), ints('one', 1), ints('shape', 64, 1, -1)],
    1,
  ],
};

for (const [name, [nodes, constants, layers]] of Object.entries(cases))
  test(`case computed_weights: ${name}`, async (t) => {
    const model = network({ nodes, constants, inputs: [float('x', [9, 64])] });
    const { input, output } = files(t, model);
    const given = feed([9, 64], 3);
    const exact = (await run(input, given))['y']!;
    t.is((await inspectModel(input)).layers.length, layers);
    for (const format of formats) {
      const data =
        format === 'matmulnbits'
          ? { calibration: [feed([9, 64], 4)], holdout: 0 }
          : { method: 'msq' as const };
      const report = await quantizeModel(input, output, { ...data, bits: 8, format });
      t.is(report.layers.length, layers, format);
      t.deepEqual(report.skipped, []);
      const apart = difference(exact, (await run(output, given, inFloat))['y']!);
      // What a recurrent layer rounds comes back to it at every step.
      const bound = nodes.some(({ opType }) => opType === 'RNN') ? 0.08 : 0.02;
      t.true(apart < bound, `${format}: ${apart}`);
      const kept = readBack(output).graph!.initializer.map((made) => made.name);
      for (const { name: source } of constants)
        if (!['zero', 'last', 'r'].includes(source)) t.false(kept.includes(source), `${format}: ${source}`);
    }
  });

test('case computed_weights: what would be far larger than what it is made of is left, with its reason', async (t) => {
  const side = 2 ** 20;
  const doubled = (operator: string, times: number): NodeProto[] =>
    Array.from({ length: times }, (_, i) => {
      const from = i ? `d${i - 1}` : 'p';
      return node(operator, operator === 'Neg' ? [from] : [from, from], [`d${i}`]);
    });
  const bombs: Record<string, [NodeProto[], string]> = {
    'an outer product': [[node('Mul', ['column', 'row'], ['big'])], 'big'],
    Expand: [[node('Expand', ['row', 'shape'], ['big'])], 'big'],
    Tile: [[node('Tile', ['row', 'shape'], ['big'])], 'big'],
    ConstantOfShape: [[node('ConstantOfShape', ['shape'], ['big'])], 'big'],
    'a sum of a sum of a sum': [doubled('Add', 5000), 'd4999'],
    'a chain of 20,000': [doubled('Neg', 20_000), 'd19999'],
    'a shape that does not fit': [[node('Reshape', ['p', 'shape'], ['big'])], 'big'],
  };
  for (const [name, [nodes, value]] of Object.entries(bombs)) {
    const model = network({
      nodes: [...nodes, node('MatMul', ['x', 'plain'], ['y']), node('MatMul', ['x', value], ['z'])],
      constants: [
        weight('p', 64, 64),
        weight('plain', 64, 64),
        tensor('column', [side, 1], new Float32Array(side)),
        tensor('row', [1, side], new Float32Array(side)),
        ints('shape', side, side),
      ],
      outputs: [float('y'), float('z')],
    });
    const { input, output } = files(t, model);
    const started = performance.now();
    const report = await quantizeModel(input, output, { method: 'msq' });
    t.is(report.layers.length, 1, name);
    t.true(performance.now() - started < 20_000, name);
    const told = report.skipped.map((left) => left.name);
    if (/sum|chain/.test(name)) t.true(told.includes('p'), name);
  }
});
