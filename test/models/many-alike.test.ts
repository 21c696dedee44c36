import test from 'ava';
import { create } from '@bufbuild/protobuf';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
} from '../../lib/containers/onnx/onnx_pb';
import { files, float, network, random } from './networks';

// trust 9: time that grows with the square of what there is many of.

const weight = tensor('w', [16, 16], random(256, 1));
const inputs = [float('x', ['n', 16])];

test('trust 9: very many nodes of one name and weight', async (t) => {
  const nodes = Array.from({ length: 2000 }, (_, i) => node('MatMul', ['x', 'w'], [`y${i}`], { name: 'a' }));
  const { input, output } = files(t, network({ nodes, constants: [weight], inputs, outputs: [float('y0')] }));
  const started = performance.now();
  const { layers } = await quantizeModel(input, output, { method: 'msq' });
  t.is(new Set(layers.map(({ name }) => name)).size, 2000);
  t.true(performance.now() - started < 15_000);
});

test('trust 9: the last two of very many initializers have one name', async (t) => {
  const names = [
    ...Array.from({ length: 60_000 }, (_, i) => `a rather long name ${i}`),
    'a rather long name 59999',
  ];
  const constants = [weight, ...names.map((name) => tensor(name, [1], Float32Array.of(1)))];
  const { input } = files(t, network({ nodes: [node('MatMul', ['x', 'w'], ['y'])], constants, inputs }));
  const started = performance.now();
  await t.throwsAsync(inspectModel(input), {
    code: 'ERR_VERTEXQ_ONNX',
    message: /two initializers .* 59999/,
  });
  t.true(performance.now() - started < 8000);
});

test('trust 9: very many branches, each with a layer of its own', async (t) => {
  const count = 2500;
  const own = random(256, 2).map((value) => value / 4);
  const branch = (name: string) =>
    create(GraphProtoSchema, {
      name,
      node: [node('MatMul', ['x', `w${name}`], [`z${name}`])],
      initializer: [tensor(`w${name}`, [16, 16], own)],
      output: [float(`z${name}`)],
    });
  const nodes = Array.from({ length: count }, (_, i) => {
    const choice = node('If', ['flag'], [`y${i}`]);
    for (const [name, g] of [
      ['then_branch', branch(`t${i}`)],
      ['else_branch', branch(`e${i}`)],
    ] as const)
      choice.attribute.push(create(AttributeProtoSchema, { name, type: AttributeType.GRAPH, g }));
    return choice;
  });
  const flag = create(TensorProtoSchema, {
    name: 'flag',
    dataType: DataType.BOOL,
    rawData: Uint8Array.of(1),
  });
  const { input, output } = files(t, network({ nodes, constants: [flag], inputs, outputs: [float('y0')] }));
  const started = process.cpuUsage();
  const { layers } = await quantizeModel(input, output, { method: 'msq' });
  t.is(layers.length, 2 * count);
  const { user } = process.cpuUsage(started);
  t.true(user < 20e6, `${user / 1e6} s of the processor`);
});

test('trust 9: very many layers that are named one by one, in "layers", "skip" and "overrides"', async (t) => {
  const count = 5000;
  const names = Array.from({ length: count }, (_, i) => `layer ${i}`);
  const nodes = names.map((name, i) => node('MatMul', ['x', `w${i}`], [`y${i}`], { name }));
  const constants = names.map((_, i) => tensor(`w${i}`, [16, 16], random(256, i)));
  const { input, output } = files(t, network({ nodes, constants, inputs, outputs: [float('y0')] }));
  const started = process.cpuUsage();
  const { layers, skipped } = await quantizeModel(input, output, {
    method: 'msq',
    layers: names,
    skip: names.slice(1000),
    overrides: names.slice(0, 1000).map((name, i) => ({ layers: name, bits: i % 2 === 0 ? 2 : 3 })),
  });
  t.deepEqual(
    layers.map(({ name, bits }) => `${name}: ${bits}`),
    names.slice(0, 1000).map((name, i) => `${name}: ${i % 2 === 0 ? 2 : 3}`),
  );
  t.is(skipped.length, count - 1000);
  const { user } = process.cpuUsage(started);
  t.true(user < 20e6, `${user / 1e6} s of the processor`);
});
