import test, { type ExecutionContext } from 'ava';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type ModelOptions, quantizeModel, type Report } from '../../../lib/index';
import { node, tensor, valueInfo } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType, type ModelProto } from '../../../lib/containers/onnx/onnx_pb';
import { difference, feed, files, float, network, random, readBack, run, type Parts } from '../networks';
import { body, truth, untyped, withBodies } from './bodies';
import { sameBytes } from '../../files/same-bytes';

// Whatever goes from one part of a network to the next: sequences, optional values, random numbers, other types.

const size = 32;
const calibration = [feed([64, size], 1), feed([40, size], 2)];
const product = (input: string, weight: string, output: string) => node('MatMul', [input, weight], [output]);
const weight = (name: string, dims = [size, size]) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      name.charCodeAt(0),
    ).map((value) => value / 4),
  );
const integer = (name: string, value: number) => tensor(name, [], BigInt64Array.of(BigInt(value)));

/** h = x·a; g = h·b, with `nodes` between; y = k·c. */
const three = (nodes: Parts['nodes'], { constants = [], ...others }: Partial<Parts> = {}): ModelProto =>
  network({
    nodes: [product('x', 'a', 'h'), ...nodes, product('k', 'c', 'y')],
    constants: [weight('a'), weight('b'), weight('c'), ...constants],
    inputs: [float('x', ['batch', size])],
    ...others,
  });

/** Quantizes with all values in memory and with all in files: the same comes out, and nothing is left behind. */
async function quantized(
  t: ExecutionContext,
  model: ModelProto,
  options: ModelOptions = {},
): Promise<{ output: string; layers: Report['layers'] }> {
  const { input, output } = files(t, model);
  const results = [];
  for (const memory of [undefined, 0]) {
    const given = {
      calibration,
      bits: 8,
      effort: 0,
      ...(memory === undefined ? {} : { memory }),
      ...options,
    };
    const { layers } = await quantizeModel(input, output, given);
    t.deepEqual(readdirSync(dirname(output)).sort(), ['in.onnx', 'out.onnx']);
    results.push({ layers: layers.map((layer) => ({ ...layer, seconds: 0 })), bytes: readFileSync(output) });
  }
  t.deepEqual(results[0], results[1]);
  return { output, layers: results[0]!.layers };
}

/** The result is near the float network, and every layer near what it gave there. */
async function goesThrough(t: ExecutionContext, model: ModelProto, layers: string[], options?: ModelOptions) {
  const done = await quantized(t, model, options);
  t.deepEqual(
    done.layers.map(({ name }) => name),
    layers,
  );
  for (const { name, error } of done.layers)
    t.true(error.calibration! < 0.02, `${name}: ${error.calibration}`);
  const [given] = (options?.calibration as typeof calibration | undefined) ?? calibration;
  const [before, after] = [await run(model, given!), await run(done.output, given!)];
  t.true(difference(before['y']!, after['y']!) < 0.05);
}

const added = [product('q', 'b', 'g'), node('Add', ['g', 'e'], ['k'])];
const at = (sequence: string, output: string) => node('SequenceAt', [sequence, 'first'], [output]);
const first = { constants: [integer('first', 0)] };

const sequences: Record<string, ModelProto> = {
  'built one by one, and added to later': three([
    node('SequenceEmpty', [], ['none']),
    node('SequenceInsert', ['none', 'h'], ['one']),
    node('ConcatFromSequence', ['one'], ['q'], { attributes: { axis: 0n } }),
    product('q', 'b', 'g'),
    node('SequenceInsert', ['one', 'g'], ['two']),
    node('ConcatFromSequence', ['two'], ['k'], { attributes: { axis: 0n } }),
  ]),
  'split, and used on both sides of a layer': three(
    [
      node('SplitToSequence', ['h'], ['parts'], { attributes: { axis: 1n } }),
      node('ConcatFromSequence', ['parts'], ['q'], { attributes: { axis: 1n } }),
      at('parts', 'e'),
      ...added,
    ],
    first,
  ),
  'built by a Loop': three(
    [
      node('SequenceEmpty', [], ['none']),
      withBodies(node('Loop', ['times', 'yes', 'none'], ['all']), {
        body: body(
          [node('Identity', ['go'], ['on']), node('SequenceInsert', ['state', 'h'], ['next'])],
          [valueInfo('i', DataType.INT64, []), valueInfo('go', DataType.BOOL, []), untyped('state')],
          [valueInfo('on', DataType.BOOL, []), untyped('next')],
        ),
      }),
      at('all', 'q'),
      at('all', 'e'),
      ...added,
    ],
    { constants: [...first.constants, integer('times', 3), truth('yes')] },
  ),
  'passed on by a Loop': three(
    [
      node('SequenceConstruct', ['h', 'x'], ['pair']),
      withBodies(node('Loop', ['times', 'yes', 'pair'], ['same']), {
        body: body(
          [node('Identity', ['go'], ['on']), node('Identity', ['state'], ['next'])],
          [valueInfo('i', DataType.INT64, []), valueInfo('go', DataType.BOOL, []), untyped('state')],
          [valueInfo('on', DataType.BOOL, []), untyped('next')],
        ),
      }),
      at('same', 'q'),
      at('same', 'e'),
      ...added,
    ],
    { constants: [...first.constants, integer('times', 2), truth('yes')] },
  ),
  'chosen by an If': three(
    [
      withBodies(node('If', ['yes'], ['chosen']), {
        then_branch: body([node('SequenceConstruct', ['h', 'x'], ['t'])], [], [untyped('t')]),
        else_branch: body([node('SequenceConstruct', ['x', 'x'], ['f'])], [], [untyped('f')]),
      }),
      at('chosen', 'q'),
      at('chosen', 'e'),
      ...added,
    ],
    { constants: [...first.constants, truth('yes')] },
  ),
  'an optional value': three([
    node('Optional', ['h'], ['maybe']),
    node('OptionalGetElement', ['maybe'], ['q']),
    node('OptionalGetElement', ['maybe'], ['e']),
    ...added,
  ]),
};

for (const [what, model] of Object.entries(sequences))
  test(`sequences between layers: ${what}`, (t) => goesThrough(t, model, ['h', 'g', 'y']));

test('branches take values from several parts', (t) =>
  goesThrough(
    t,
    three(
      [
        product('h', 'b', 'g'),
        withBodies(node('If', ['yes'], ['k']), {
          then_branch: body([node('Add', ['h', 'g'], ['t'])], [], [float('t')]),
          else_branch: body([node('Identity', ['x'], ['f'])], [], [float('f')]),
        }),
      ],
      { constants: [truth('yes')] },
    ),
    ['h', 'g', 'y'],
  ));

test('one weight that two layers see in two forms, though it lies there in one', (t) =>
  goesThrough(
    t,
    three([
      node('Transpose', ['a'], ['turned']),
      // Once turned by the node and once before: stored alike, but no node takes the other's form.
      node('Gemm', ['h', 'turned'], ['g'], { attributes: { transB: 1n } }),
      product('g', 'b', 'k'),
    ]),
    ['h', 'g', 'k', 'y'],
  ));

const draws: Record<string, { nodes: Parts['nodes']; constants?: Parts['constants'] }> = {
  RandomNormal: {
    nodes: [node('RandomNormal', [], ['e'], { attributes: { shape: [1n, BigInt(size)] } })],
  },
  RandomUniformLike: { nodes: [node('RandomUniformLike', ['h'], ['e'])] },
  Bernoulli: { nodes: [node('Sigmoid', ['x'], ['p']), node('Bernoulli', ['p'], ['e'])] },
  'Dropout in training': {
    nodes: [node('Dropout', ['x', 'ratio', 'yes'], ['e'])],
    constants: [tensor('ratio', [], Float32Array.of(0.5)), truth('yes')],
  },
  'RandomNormal in a branch': {
    nodes: [
      withBodies(node('If', ['yes'], ['e']), {
        then_branch: body([node('RandomNormalLike', ['h'], ['t'])], [], [float('t')]),
        else_branch: body([node('Identity', ['x'], ['f'])], [], [float('f')]),
      }),
    ],
    constants: [truth('yes')],
  },
};

for (const [what, { nodes, constants = [] }] of Object.entries(draws))
  test(`random numbers are the same in both networks, and in every run: ${what}`, async (t) => {
    const model = three([...nodes, node('Add', ['h', 'e'], ['q']), ...added], { constants });
    const { layers, output } = await quantized(t, model);
    for (const { name, error } of layers) t.true(error.calibration! < 0.01, `${name}: ${error.calibration}`);
    const written = readBack(output).graph!.node.filter(({ opType }) => opType.startsWith('Random'));
    // Only to fit: the network goes on drawing.
    for (const { attribute } of written) t.false(attribute.some(({ name }) => name === 'seed'));
  });

test('integers, truth values, text and half floats between layers', (t) => {
  const cast = (input: string, to: DataType, output: string) =>
    node('Cast', [input], [output], { attributes: { to: BigInt(to) } });
  const words = { data: ['b', 'a', 'b'], dims: [3, 1], type: 'string' };
  const sum = (terms: string[], output: string) => node('Sum', terms, [output]);
  const model = three(
    [
      node('Shape', ['h'], ['shape']),
      node('ArgMax', ['x'], ['most'], { attributes: { axis: 1n } }),
      node('Greater', ['x', 'zero'], ['positive']),
      cast('h', DataType.FLOAT16, 'half'),
      cast('h', DataType.DOUBLE, 'twice'),
      node('StringConcat', ['words', 'words'], ['long']),
      node('Equal', ['long', 'words'], ['never']),
      cast('never', DataType.FLOAT, 'naught'),
      sum(['h', 'naught'], 'q'),
      product('q', 'b', 'g'),
      node('StringConcat', ['long', 'words'], ['longer']),
      node('Equal', ['longer', 'long'], ['neither']),
      ...[
        ['most', 'e0'],
        ['positive', 'e1'],
        ['half', 'e2'],
        ['twice', 'e3'],
        ['neither', 'e4'],
      ].map(([from, to]) => cast(from!, DataType.FLOAT, to!)),
      sum(['g', 'e0', 'e1', 'e2', 'e3', 'e4'], 'all'),
      node('Reshape', ['all', 'shape'], ['k']),
    ],
    {
      constants: [tensor('zero', [], Float32Array.of(0))],
      inputs: [float('x', ['batch', size]), valueInfo('words', DataType.STRING, ['batch', 1])],
      model: { irVersion: 9n, opsetImport: [{ domain: '', version: 20n }] },
    },
  );
  return goesThrough(t, model, ['h', 'g', 'y'], {
    calibration: [{ ...feed([3, size], 1), words }],
    holdout: 0,
  });
});

test('outputs that a node may leave out, and values that the network gives out too', (t) =>
  goesThrough(
    t,
    three(
      [
        node('LayerNormalization', ['h', 'gain'], ['q', '', 'e']),
        product('q', 'b', 'g'),
        node('Mul', ['g', 'e'], ['k']),
      ],
      {
        constants: [tensor('gain', [size], random(size, 1))],
        outputs: ['y', 'h', 'q', 'e'].map((name) => float(name)),
      },
    ),
    ['h', 'g', 'y'],
  ));

test('a value that layers see in several ways: columns, rows and patches', async (t) => {
  const nodes = [
    node('Conv', ['x', 'kernel'], ['c'], { attributes: { pads: [1n, 1n], group: 3n } }),
    product('x', 'a', 'm'),
    product('left', 'x', 'l'),
    node('Sum', ['c', 'm', 'l'], ['s']),
    node('Conv', ['s', 'kernel'], ['k'], { attributes: { pads: [2n, 0n], group: 3n, strides: [2n] } }),
    product('s', 'b', 'g'),
    node('Concat', ['k', 'g'], ['y'], { attributes: { axis: 2n } }),
  ];
  const model = network({
    nodes,
    constants: [weight('kernel', [6, 2, 3]), weight('a'), weight('left', [6, 6]), weight('b')],
    inputs: [float('x', ['batch', 6, size])],
  });
  await goesThrough(t, model, ['c', 'm', 'l', 'k', 'g'], {
    calibration: [feed([4, 6, size], 1), feed([9, 6, size], 2)],
  });
});

test('empty batches add nothing; where all are, it is an error', async (t) => {
  const model = three([node('Relu', ['h'], ['q']), node('Identity', ['h'], ['e']), ...added], {
    inputs: [float('x', ['batch', 'time', size])],
  });
  const [empty, ...full] = [feed([2, 0, size], 1), feed([9, 3, size], 2), feed([3, 20, size], 3)] as const;
  const [without, withThem] = [
    await quantized(t, model, { calibration: full, holdout: 0 }),
    await quantized(t, model, { calibration: [empty, full[0], empty, full[1]], holdout: 0 }),
  ];
  t.deepEqual(withThem.layers, without.layers);
  sameBytes(t, readFileSync(withThem.output), readFileSync(without.output));
  await t.throwsAsync(quantized(t, model, { calibration: [empty], holdout: 0 }), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /layer "h": the calibration data gives "x" no rows/,
  });
});

test('layers of which nothing depends on the data', async (t) => {
  const model = three(
    [
      node('Relu', ['d'], ['constant']),
      product('constant', 'b', 'g'),
      // The runtime computes these two once and for all.
      node('Gemm', ['d', 'b'], ['folded']),
      node('Conv', ['image', 'kernel'], ['convolved']),
      node('Sum', ['h', 'g', 'folded', 'convolved'], ['k']),
    ],
    {
      constants: [weight('d'), weight('image', [1, 1, size]), weight('kernel', [1, 1, 1])],
      inputs: [float('x', [size, size])],
    },
  );
  await goesThrough(t, model, ['h', 'g', 'y'], { calibration: [feed([size, size], 1)], holdout: 0 });
});

test('a value that is called __proto__ is refused where it would have to be kept', async (t) => {
  const model = three([node('Relu', ['h'], ['__proto__']), product('__proto__', 'b', 'k')]);
  await t.throwsAsync(quantized(t, model), { code: 'ERR_VERTEXQ_UNSUPPORTED', message: /"__proto__"/ });
  await goesThrough(t, three([node('Relu', ['h'], ['constructor']), product('constructor', 'b', 'k')]), [
    'h',
    'k',
    'y',
  ]);
});
