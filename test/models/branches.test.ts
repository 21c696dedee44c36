import { create } from '@bufbuild/protobuf';
import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { inspectModel, quantizeLayer, quantizeModel } from '../../lib/index';
import { namesOf, withSubgraphs } from '../../lib/containers/onnx/graph';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  TensorProto_DataType as DataType,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { transposed } from '../numbers';
import type { Feeds } from '../../lib/models/types';
import {
  difference,
  feed,
  files,
  float,
  floatsOf,
  inFloat,
  network,
  random,
  readBack,
  run,
} from './networks';

const formats = ['matmulnbits', 'qdq', 'float'] as const;
const rounding = { method: 'msq', bits: 4, scale: 'max', groupSize: 32 } as const;
const size = 64;
const weight = (name: string, rows = size, columns = size) =>
  tensor(name, [rows, columns], random(rows * columns, name.length + columns));

function holding(made: NodeProto, bodies: Record<string, GraphProto>): NodeProto {
  for (const [name, g] of Object.entries(bodies))
    made.attribute.push(create(AttributeProtoSchema, { name, g, type: AttributeType.GRAPH }));
  return made;
}

const graph = (name: string, nodes: NodeProto[], output: string, initializer: TensorProto[] = []) =>
  create(GraphProtoSchema, { name, node: nodes, initializer, output: [float(output)] });

const choice = (output: string, thenBranch: GraphProto, elseBranch: GraphProto, name = output) =>
  holding(node('If', ['flag'], [output], { name }), { then_branch: thenBranch, else_branch: elseBranch });

const flagged = (nodes: NodeProto[], constants: TensorProto[]): ModelProto =>
  network({
    nodes,
    constants,
    inputs: [float('x', ['batch', size]), valueInfo('flag', DataType.BOOL, [])],
  });

const given = (yes: boolean, samples = 40): Feeds => ({
  ...feed([samples, size], 5),
  flag: { data: Uint8Array.of(yes ? 1 : 0), dims: [], type: 'bool' },
});

/** The model with its float tensors of these names rounded, wherever they stand; each [inFeatures, outFeatures]. */
async function rounded(model: ModelProto, names: readonly string[]): Promise<ModelProto> {
  for (const { initializer, node: nodes } of withSubgraphs(model.graph!))
    for (const found of [...initializer, ...nodes.flatMap(({ attribute }) => attribute.map(({ t }) => t))]) {
      if (!found || !names.includes(found.name)) continue;
      const [rows, columns] = found.dims.map(Number) as [number, number];
      const values = new Float32Array(Uint8Array.from(found.rawData).buffer);
      const quantized = await quantizeLayer(
        { weight: transposed(values, rows, columns), outFeatures: columns, inFeatures: rows },
        rounding,
      );
      found.rawData = new Uint8Array(transposed(quantized.dequantize(), columns, rows).buffer);
    }
  return model;
}

/** Each format gives what the network with rounded weights gives, whichever branch is taken; nothing float is left behind. */
async function holds(t: ExecutionContext, build: () => ModelProto, names: readonly string[], layers: number) {
  const reference = await rounded(build(), names);
  for (const format of formats) {
    const { input, output } = files(t, build());
    const report = await quantizeModel(input, output, { ...rounding, format });
    t.is(report.layers.length, layers, format);
    for (const yes of [true, false]) {
      const wanted = (await run(reference, given(yes)))['y']!;
      const apart = difference(wanted, (await run(output, given(yes), inFloat))['y']!);
      t.true(apart < 1e-4, `${format}, ${yes}: ${apart}`);
    }
    if (format === 'float') continue;
    const left = [...withSubgraphs(readBack(output).graph!)].flatMap(({ initializer, node: nodes }) => [
      ...initializer,
      ...nodes.flatMap(({ attribute }) => attribute.flatMap((made) => (made.t ? [made.t] : []))),
    ]);
    t.deepEqual(
      left.filter(({ name }) => names.includes(name)).map(({ name }) => name),
      [],
      `${format}: float weights are gone`,
    );
  }
}

const product = (x: string, w: string, y: string) => node('MatMul', [x, w], [y], { name: y });

test('case merged_decoder: weights that both branches of an If take from outside', async (t) => {
  const build = () => {
    const branch = (i: number) =>
      graph(
        `b${i}`,
        [product('x', 'W', `h${i}`), node('Relu', [`h${i}`], [`r${i}`]), product(`r${i}`, 'V', `o${i}`)],
        `o${i}`,
      );
    return flagged([choice('y', branch(1), branch(2))], [weight('W'), weight('V', size, 32)]);
  };
  await holds(t, build, ['W', 'V'], 4);
  const { input, output } = files(t, build());
  const report = await quantizeModel(input, output, rounding);
  t.is(report.bytes.weightsBefore, 4 * (size * size + size * 32), 'a tied weight counts once');
  t.deepEqual(
    (await inspectModel(input)).layers.map(({ name, weight: own }) => [name, own]),
    [
      ['h1', 'W'],
      ['o1', 'V'],
      ['h2', 'W'],
      ['o2', 'V'],
    ],
  );
});

test('case merged_decoder: initializers and Constants of branches in branches, behind Transpose, used also otherwise', async (t) => {
  const constant = (value: TensorProto) =>
    node('Constant', [], [`${value.name}_out`], { name: value.name, attributes: { value } });
  const build = () => {
    const deep = choice(
      'chosen',
      graph('deep', [product('h', 'own', 'd')], 'd', [weight('own')]),
      graph('else', [constant(weight('constant')), product('h', 'constant_out', 'e')], 'e'),
    );
    return flagged(
      [
        product('x', 'outer', 'h'),
        choice(
          'y',
          graph('then', [deep, node('Relu', ['chosen'], ['relu'])], 'relu'),
          graph(
            'other',
            [node('Identity', ['outer'], ['same']), product('h', 'same', 'm'), node('Tanh', ['m'], ['n'])],
            'n',
          ),
        ),
      ],
      [weight('outer')],
    );
  };
  await holds(t, build, ['own', 'constant', 'outer'], 4);

  // A value that is a weight of a layer, and also added: in a branch, where only its way leads on from outside.
  const shared = () =>
    flagged(
      [
        choice(
          'y',
          graph(
            'then',
            [
              node('Transpose', ['outer'], ['turned'], { attributes: { perm: [1n, 0n] } }),
              product('x', 'turned', 'm'),
              node('ReduceSum', ['turned'], ['sum'], { attributes: { keepdims: 0n } }),
              node('Add', ['m', 'sum'], ['n']),
            ],
            'n',
          ),
          graph('else', [node('Identity', ['x'], ['i'])], 'i'),
        ),
      ],
      [weight('outer')],
    );
  const exact = (await run(shared(), given(true)))['y']!;
  for (const format of formats) {
    const { input, output } = files(t, shared());
    await quantizeModel(input, output, { ...rounding, bits: 8, format });
    const kept = readBack(output).graph!.initializer.find(({ name }) => name === 'outer');
    t.deepEqual(floatsOf(kept!), floatsOf(shared().graph!.initializer[0]!), format);
    t.true(difference(exact, (await run(output, given(true), inFloat))['y']!) < 0.02);
  }
});

test('case merged_decoder: names that hide others, and names that two branches have', async (t) => {
  const build = () =>
    flagged(
      [
        product('x', 'w', 'h'),
        choice(
          'y',
          // Both hold a `w` of their own and a value `m`.
          graph('then', [product('h', 'v', 'm')], 'm', [{ ...weight('v'), name: 'v' }]),
          graph('else', [product('h', 'v', 'm'), node('Relu', ['m'], ['r'])], 'r', [
            tensor('v', [size, size], random(size * size, 99)),
          ]),
        ),
      ],
      [weight('w')],
    );
  await holds(t, build, ['w', 'v'], 3);
  const { input } = files(t, build());
  t.deepEqual(
    (await inspectModel(input)).layers.map(({ name }) => name),
    ['h', 'm', 'm#2'],
  );

  // The body's state is called like a weight outside: it is no constant.
  const loop = (): ModelProto =>
    network({
      nodes: [
        holding(node('Loop', ['times', 'yes', 'x'], ['y'], { name: 'loop' }), {
          body: create(GraphProtoSchema, {
            name: 'body',
            node: [
              node('Identity', ['go'], ['on']),
              product('state', 'inner', 'm'),
              node('Tanh', ['m'], ['next']),
            ],
            initializer: [weight('inner')],
            input: [
              valueInfo('i', DataType.INT64, []),
              valueInfo('go', DataType.BOOL, []),
              float('state', ['batch', size]),
            ],
            output: [valueInfo('on', DataType.BOOL, []), float('next', ['batch', size])],
          }),
        }),
      ],
      constants: [
        tensor('times', [], BigInt64Array.of(3n)),
        Object.assign(tensor('yes', [], Uint8Array.of(1)), { dataType: DataType.BOOL }),
      ],
      inputs: [float('x', ['batch', size])],
    });
  await holds(t, loop, ['inner'], 1);
});

test('case merged_decoder: with data, layers around see what is quantized inside, and share its weight', async (t) => {
  const build = () =>
    flagged(
      [
        choice(
          'a',
          graph('then', [product('x', 'W', 'm')], 'm'),
          graph('else', [product('x', 'inner', 'n')], 'n', [weight('inner')]),
        ),
        node('Relu', ['a'], ['b']),
        product('b', 'W', 'c'),
        product('c', 'V', 'y'),
      ],
      [weight('W'), weight('V', size, 32)],
    );
  const calibration = [given(true, 200), given(true, 199)];
  for (const format of formats) {
    const { input, output } = files(t, build());
    const report = await quantizeModel(input, output, { calibration, bits: 6, format, holdout: 0 });
    const methods = new Map(report.layers.map(({ name, method }) => [name, method]));
    t.deepEqual([methods.get('c'), methods.get('y'), methods.get('n')], ['vertex', 'vertex', 'msq']);
    // One weight is quantized once, on data.
    t.is(methods.get('m'), 'vertex', format);
    for (const yes of [true, false]) {
      const exact = (await run(input, given(yes)))['y']!;
      const apart = difference(exact, (await run(output, given(yes), inFloat))['y']!);
      t.true(apart < 0.1, `${format}, ${yes}: ${apart}`);
    }
    const names = [...namesOf(readBack(output).graph!)];
    t.is(new Set(names).size, names.length);
  }
});

const vad = (name: string) =>
  join('node_modules', '@ricky0123', 'vad-web', 'dist', `silero_vad_${name}.onnx`);

/** A second of a voice: a tone with overtones that swells and falls, between silences. */
function voice(rate: number, samples: number): Float32Array {
  const noise = random(samples, 11);
  return Float32Array.from({ length: samples }, (_, i) => {
    const time = i / rate;
    const loud = Math.max(0, Math.sin(2 * Math.PI * 2 * time)) ** 2;
    const pitch = 2 * Math.PI * (130 * time + 3 * Math.sin(2 * Math.PI * 3 * time));
    let sum = 0;
    for (let k = 1; k <= 24; k++) sum += Math.sin(k * pitch) * Math.exp(-(((k * 130 - 600) / 700) ** 2));
    return 0.1 * loud * sum + 0.002 * noise[i]!;
  });
}

/** What the network says of each frame of a second, its states going on from frame to frame. */
async function speech(model: string, rate: number, frame: number, states: Record<string, number[]>) {
  const sound = voice(rate, frame * 31);
  const session = await InferenceSession.create(readFileSync(model), { intraOpNumThreads: 1 });
  const carried: Record<string, Tensor> = Object.fromEntries(
    Object.entries(states).map(([name, dims]) => [
      name,
      new Tensor('float32', new Float32Array(dims.reduce((a, b) => a * b, 1)), dims),
    ]),
  );
  const said: number[] = [];
  for (let at = 0; at < sound.length; at += frame) {
    const results = await session.run({
      input: new Tensor('float32', sound.slice(at, at + frame), [1, frame]),
      sr: new Tensor('int64', BigInt64Array.of(BigInt(rate)), []),
      ...carried,
    });
    said.push((results['output']!.data as Float32Array)[0]!);
    for (const name of Object.keys(states))
      carried[name] = results[name === 'state' ? 'stateN' : `${name}n`]!;
  }
  await session.release();
  return said;
}

for (const [name, rate, states] of [
  ['v5', 16000, { state: [2, 1, 128] }],
  ['v5', 8000, { state: [2, 1, 128] }],
  ['legacy', 16000, { h: [2, 1, 64], c: [2, 1, 64] }],
] as const)
  test(`case vad-web: silero_vad_${name}, all of whose weights stand in branches, at ${rate} samples a second`, async (t) => {
    const frame = (name === 'v5' ? 512 : 1536) / (16000 / rate);
    const own = states as unknown as Record<string, number[]>;
    const { output } = files(t, new Uint8Array(0));
    const exact = await speech(vad(name), rate, frame, own);
    const report = await quantizeModel(vad(name), output, { method: 'msq', bits: 8 });
    t.true(report.layers.length >= 12);
    t.true(report.bytes.weightsAfter < 0.4 * report.bytes.weightsBefore);
    // Probabilities.
    const said = await speech(output, rate, frame, own);
    const apart = Math.max(...exact.map((value, i) => Math.abs(value - said[i]!)));
    t.true(apart < 0.1, `${apart}`);
    t.true(Math.max(...exact) - Math.min(...exact) > 0.3, `it hears something: ${exact.join(' ')}`);
  });
