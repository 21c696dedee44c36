import { create, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { existsSync } from 'node:fs';
import { inspectModel, quantizeLayer, quantizeModel } from '../../lib/index';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type GraphProto,
  type ModelProto,
  type TensorProto,
} from '../../lib/containers/onnx/onnx_pb';
import { transposed } from '../numbers';
import {
  bytesOf,
  difference,
  feed,
  files,
  float,
  floatsOf,
  network,
  random,
  readBack,
  run,
} from './networks';
import { field } from './wire';

const weight = (name: string, rows: number, columns: number) =>
  tensor(name, [rows, columns], random(rows * columns, name.length + rows));

/** x → fc1 → Relu → fc2 → y, with things around it that must stay. */
function twoLayers(): ModelProto {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w1'], ['a'], { name: 'block/fc1' }),
      node('Add', ['a', 'bias'], ['b'], { name: 'block/add' }),
      node('Relu', ['b'], ['r'], { name: 'block/relu' }),
      node('MatMul', ['r', 'w2'], ['y'], { name: 'head/fc2' }),
    ],
    constants: [
      weight('w1', 40, 24),
      weight('w2', 24, 10),
      tensor('bias', [24], random(24, 5)),
      tensor('table', [3, 2], random(6, 9)),
    ],
    inputs: [float('x', ['batch', 40])],
    outputs: [float('y', ['batch', 10]), float('r', ['batch', 24])],
  });
  model.producerName = 'a trainer';
  model.graph!.docString = 'about it';
  model.graph!.valueInfo.push(float('b', ['batch', 24]));
  model.opsetImport.push({ ...model.opsetImport[0]!, domain: 'ai.example', version: 3n });
  model.metadataProps.push(create(StringStringEntryProtoSchema, { key: 'author', value: 'someone' }));
  return model;
}

const calibration = [feed([128, 40], 1), feed([64, 40], 2)];

test('what is not quantized is unchanged', async (t) => {
  const before = twoLayers();
  for (const format of ['float', 'matmulnbits'] as const) {
    const { input, output } = files(t, before);
    await quantizeModel(input, output, { calibration, format, layers: 'block/*' });
    const after = readBack(output);
    const same = <T>(what: (model: ModelProto) => T) => t.deepEqual(what(after), what(before), format);
    const named = (names: string[]) => (model: ModelProto) =>
      model
        .graph!.node.filter(({ name }) => names.includes(name))
        .map((kept) => toBinary(NodeProtoSchema, kept));
    same(named(['block/add', 'block/relu', 'head/fc2', ...(format === 'float' ? ['block/fc1'] : [])]));
    same(({ graph }) =>
      [...graph!.input, ...graph!.output, ...graph!.valueInfo].map((v) => toBinary(ValueInfoProtoSchema, v)),
    );
    same(({ graph }) =>
      graph!.initializer
        .filter(({ name }) => !/^w1/.test(name))
        .map((kept) => toBinary(TensorProtoSchema, kept)),
    );
    same((model) => [model.irVersion, model.producerName, model.graph!.name, model.graph!.docString]);
    t.deepEqual(
      after.opsetImport.map(({ domain, version }) => [domain, version]),
      [['', 17n], ['ai.example', 3n], ...(format === 'float' ? [] : [['com.microsoft', 1n]])],
    );
    t.is(after.metadataProps.find(({ key }) => key === 'author')?.value, 'someone');
    t.deepEqual(
      after.graph!.node.map(({ opType }) => opType),
      [format === 'float' ? 'MatMul' : 'MatMulNBits', 'Add', 'Relu', 'MatMul'],
    );
  }
});

test('each layer is fitted to what the quantized layers before it produce, and to the float outputs', async (t) => {
  const model = twoLayers();
  const options = { bits: 3, groupSize: 32, threads: 1 } as const;
  const values = (graph: GraphProto, name: string) =>
    floatsOf(graph.initializer.find((kept) => kept.name === name)!);
  const rows = (parts: Float32Array[]) => Float32Array.from(parts.flatMap((part) => [...part]));
  const first = await quantizeLayer(
    {
      weight: transposed(values(model.graph!, 'w1'), 40, 24),
      outFeatures: 24,
      inFeatures: 40,
      activations: rows(calibration.map(({ x }) => x!.data as Float32Array)),
    },
    options,
  );
  /** What the second layer sees when the first has such weights. */
  const seenWith = async (weights: Float32Array) => {
    const changed = twoLayers();
    changed.graph!.initializer[0] = tensor('w1', [40, 24], weights);
    const seen: Float32Array[] = [];
    for (const given of calibration) seen.push((await run(changed, given))['r']!);
    return rows(seen);
  };
  const second = async (activations: Float32Array, targetActivations?: Float32Array) => {
    const layer = { weight: transposed(values(model.graph!, 'w2'), 24, 10), outFeatures: 10, inFeatures: 24 };
    const data = { activations, ...(targetActivations && { targetActivations }) };
    return transposed((await quantizeLayer({ ...layer, ...data }, options)).dequantize(), 10, 24);
  };

  const float = await seenWith(values(model.graph!, 'w1'));
  for (const errorCorrection of [false, true]) {
    const { input, output } = files(t, model);
    const common = { calibration, holdout: 0, format: 'float', bits: 3 } as const;
    await quantizeModel(input, output, { ...common, errorCorrection });
    const written = readBack(output).graph!;
    t.deepEqual(values(written, 'w1'), transposed(first.dequantize(), 24, 40));
    const quantized = await seenWith(values(written, 'w1'));
    const expected = await second(quantized, errorCorrection ? float : undefined);
    t.deepEqual(values(written, 'w2'), expected, `errorCorrection: ${errorCorrection}`);
    // The test would not tell them apart if other data gave the same.
    t.notDeepEqual(expected, await second(float));
    t.notDeepEqual(expected, await second(quantized, errorCorrection ? undefined : float));
  }
});

test('globs choose layers; one that matches nothing is an error', async (t) => {
  const { input, output } = files(t, twoLayers());
  const quantized = async (options: { layers?: string | string[]; skip?: string | string[] }) =>
    (await quantizeModel(input, output, { calibration, ...options })).layers.map(({ name }) => name);
  t.deepEqual(await quantized({}), ['block/fc1', 'head/fc2']);
  t.deepEqual(await quantized({ layers: '*fc1' }), ['block/fc1']);
  t.deepEqual(await quantized({ layers: ['head/*', 'block/fc?'] }), ['block/fc1', 'head/fc2']);
  t.deepEqual(await quantized({ skip: ['block/**'] }), ['head/fc2']);
  const wrong = await t.throwsAsync(quantized({ layers: ['head/*', 'tail/*'] }), { instanceOf: RangeError });
  t.regex(wrong.message, /"tail\/\*" of the "layers" option matches no layer.*block\/fc1, head\/fc2/);
  await t.throwsAsync(quantized({ skip: 'x*' }), { instanceOf: RangeError, message: /"skip"/ });
  await t.throwsAsync(quantized({ skip: '*' }), { code: 'ERR_VERTEXQ_NO_LAYERS' });
  await t.throwsAsync(quantized({ layers: [] }), { instanceOf: RangeError });
});

test('no layer to quantize: ERR_VERTEXQ_NO_LAYERS, and nothing is written', async (t) => {
  const relu = network({ nodes: [node('Relu', ['x'], ['y'])], constants: [] });
  const products = network({ nodes: [node('MatMul', ['x', 'x'], ['y'])], constants: [] });
  const doubles = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [2, 2], new Float64Array(4))],
    inputs: [valueInfo('x', DataType.DOUBLE, ['batch', 2])],
  });
  for (const model of [relu, products, doubles]) {
    const { input, output } = files(t, model);
    const error = await t.throwsAsync(quantizeModel(input, output, { method: 'msq' }), {
      code: 'ERR_VERTEXQ_NO_LAYERS',
    });
    t.true(error.message.includes(input));
    t.false(existsSync(output));
  }
});

const branch = (name: string, nodes: GraphProto['node'], output: string) =>
  create(GraphProtoSchema, { name, node: nodes, output: [float(output)] });

/** A weight that the main graph uses in a product, and a branch in another. */
function withBranches(): ModelProto {
  const choice = node('If', ['yes'], ['y']);
  const graphs = {
    then_branch: branch('then', [node('MatMul', ['h', 'w'], ['t'])], 't'),
    else_branch: branch('else', [node('Identity', ['h'], ['e'])], 'e'),
  };
  for (const [name, g] of Object.entries(graphs))
    choice.attribute.push(create(AttributeProtoSchema, { name, g, type: AttributeType.GRAPH }));
  return network({
    nodes: [node('MatMul', ['x', 'w'], ['h']), choice],
    constants: [weight('w', 40, 40), tensor('yes', [], new Uint8Array([1]))],
  });
}

test('a weight that a subgraph uses too stays there as it is, where that is left', async (t) => {
  const model = withBranches();
  model.graph!.initializer[1]!.dataType = DataType.BOOL;
  const answers: Float32Array[] = [];
  for (const format of ['float', 'matmulnbits'] as const) {
    const { input, output } = files(t, model);
    const report = await quantizeModel(input, output, { calibration, format, bits: 8, skip: 't' });
    t.is(report.layers.length, 1);
    const after = readBack(output).graph!;
    t.deepEqual(
      after.node.find(({ opType }) => opType === 'If'),
      model.graph!.node[1],
    );
    t.deepEqual(floatsOf(after.initializer.find(({ name }) => name === 'w')!), random(1600, 41));
    const answer = (await run(output, calibration[0]!))['y']!;
    t.true(difference((await run(model, calibration[0]!))['y']!, answer) < 0.02);
    answers.push(answer);
  }
  t.true(difference(answers[0]!, answers[1]!) < 1e-5);
});

test('a layer behind an If is fitted too: the branches take part in running the network', async (t) => {
  const model = withBranches();
  model.graph!.initializer[1]!.dataType = DataType.BOOL;
  model.graph!.node[1]!.output[0] = model.graph!.node[1]!.name = 'chosen';
  model.graph!.node.push(node('MatMul', ['chosen', 'v'], ['y']));
  model.graph!.initializer.push(weight('v', 40, 10));
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, { calibration, bits: 8 });
  t.is(report.layers.length, 3);
  t.true(
    difference((await run(model, calibration[0]!))['y']!, (await run(output, calibration[0]!))['y']!) < 0.05,
  );
});

test('nodes of unknown operators and domains are left alone', async (t) => {
  const model = network({
    nodes: [
      node('Frobnicate', ['x', 'w'], ['a'], {
        domain: 'com.example',
        attributes: { depth: 3n, how: 'well' },
      }),
      node('MatMul', ['a', 'v'], ['b'], { domain: 'com.example' }),
      node('MatMul', ['b', 'w'], ['c']),
      node('NotYetAnOperator', ['c'], ['y']),
    ],
    constants: [weight('w', 40, 40), weight('v', 40, 40)],
  });
  for (const format of ['float', 'matmulnbits'] as const) {
    const { input, output } = files(t, model);
    const report = await quantizeModel(input, output, { format });
    t.deepEqual(
      report.layers.map(({ name, method }) => [name, method]),
      [['c', 'msq']],
    );
    const after = readBack(output).graph!;
    for (const i of [0, 1, 3]) t.deepEqual(after.node[i], readBack(input).graph!.node[i]);
    t.deepEqual(after.node[2]!.output, ['c']);
    for (const name of ['w', 'v'])
      t.deepEqual(
        after.initializer.find((kept) => kept.name === name),
        readBack(input).graph!.initializer.find((kept) => kept.name === name),
      );
  }
});

test('fields that the schema does not know survive, byte for byte', async (t) => {
  // Fields 26, of a later version, and 2000 of the model.
  const unknown = Uint8Array.of(0xd2, 0x01, 3, 1, 2, 3, 0x82, 0x7d, 2, 9, 9);
  const { input, output } = files(t, Uint8Array.from([...bytesOf(twoLayers()), ...unknown]));
  await quantizeModel(input, output, { method: 'msq' });
  t.deepEqual(
    readBack(output).$unknown?.map(({ no }) => no),
    [26, 2000],
  );
});

test('what is said about values that are no more goes with them', async (t) => {
  const model = network({
    nodes: [
      node('Transpose', ['w1'], ['t1']),
      node('MatMul', ['x', 't1'], ['h']),
      node('MatMul', ['h', 'w2'], ['z']),
      node('Add', ['z', 'w2'], ['y']),
    ],
    constants: [weight('w1', 40, 40), weight('w2', 40, 40)],
    inputs: [float('x', [40, 40])],
  });
  for (const name of ['w1', 't1', 'h', 'w2', 'z']) model.graph!.valueInfo.push(float(name, [40, 40]));
  for (const [format, kept] of [
    ['matmulnbits', ['h', 'w2', 'z']],
    ['float', ['w1', 't1', 'h', 'w2', 'z']],
  ] as const) {
    const { input, output } = files(t, model);
    await quantizeModel(input, output, { calibration: [feed([40, 40], 1)], holdout: 0, format, bits: 8 });
    t.deepEqual(
      readBack(output).graph!.valueInfo.map(({ name }) => name),
      kept,
    );
    const given = feed([40, 40], 1);
    t.true(difference((await run(model, given))['y']!, (await run(output, given))['y']!) < 0.05);
  }
});

test('sparse weights, which the schema does not know, take part in running the network', async (t) => {
  const model = network({
    nodes: [node('Mul', ['x', 's'], ['h']), node('MatMul', ['h', 'w'], ['y'])],
    constants: [weight('w', 40, 40)],
    inputs: [float('x', ['batch', 40])],
  });
  // SparseTensorProto: values, indices, dims; field 15 of the graph.
  const bytesOfTensor = (made: TensorProto) => toBinary(TensorProtoSchema, made);
  const sparse = [
    ...field(1, bytesOfTensor(tensor('s', [2], Float32Array.of(2, 3)))),
    ...field(2, bytesOfTensor(tensor('', [2], BigInt64Array.of(1n, 39n)))),
    ...[3 * 8, 40],
  ];
  const graph = [...toBinary(GraphProtoSchema, model.graph!), ...field(15, sparse)];
  delete (model as { graph?: GraphProto }).graph;
  const { input, output } = files(t, Uint8Array.from([...bytesOf(model), ...field(7, graph)]));
  const report = await quantizeModel(input, output, { calibration, method: 'maly-saab', bits: 8 });
  t.is(report.layers[0]!.rank, 2);
  const [exact, quantized] = [
    await run(readBack(input), calibration[0]!),
    await run(output, calibration[0]!),
  ];
  t.true(difference(exact['y']!, quantized['y']!) < 0.05);
});

test('names that are taken are not taken again', async (t) => {
  const model = twoLayers();
  for (const name of ['w1_Q4', 'w1_scales', 'vertexq/0', 'vertexq/1', 'block/fc1_Q4'])
    model.graph!.initializer.push(tensor(name, [24], random(24, 3)));
  for (const [i, name] of ['w1_Q4', 'vertexq/0', 'vertexq/1'].entries())
    model.graph!.node.splice(2 + i, 0, node('Add', [i === 0 ? 'b' : `b${i}`, name], [`b${i + 1}`]));
  model.graph!.node.find(({ opType }) => opType === 'Relu')!.input[0] = 'b3';
  const { input, output } = files(t, model);
  await quantizeModel(input, output, { calibration, bits: 8, grid: 'asymmetric' });
  t.true(
    difference((await run(model, calibration[0]!))['y']!, (await run(output, calibration[0]!))['y']!) < 0.05,
  );
  const names = readBack(output).graph!.initializer.map(({ name }) => name);
  t.is(new Set(names).size, names.length);
});

test('a quantized model can be looked at, and its remaining layers quantized', async (t) => {
  const { input, output } = files(t, twoLayers());
  await quantizeModel(input, output, { calibration, layers: 'block/*' });
  t.deepEqual(
    (await inspectModel(output)).layers.map(({ name }) => name),
    ['head/fc2'],
  );
  const again = `${output}.2.onnx`;
  await quantizeModel(output, again, { calibration });
  await t.throwsAsync(quantizeModel(again, output, { calibration }), { code: 'ERR_VERTEXQ_NO_LAYERS' });
});
