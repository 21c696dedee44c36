import test from 'ava';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { inspectModel } from '../../lib/index';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { files, float, network, random } from './networks';
import { cases, plainWeights } from './weight-cases';

const fixture = (name: string) => join(__dirname, '..', 'fixtures', name);

test('the MNIST networks', async (t) => {
  const mlp = await inspectModel(fixture('mnist-mlp.onnx'));
  t.deepEqual(mlp.layers, [
    {
      name: '/fc1/Gemm',
      kind: 'Gemm',
      shape: [500, 784],
      weight: 'fc1.weight',
      parameters: 392000,
      bytes: 1568000,
    },
    {
      name: '/fc2/Gemm',
      kind: 'Gemm',
      shape: [300, 500],
      weight: 'fc2.weight',
      parameters: 150000,
      bytes: 600000,
    },
    {
      name: '/fc3/Gemm',
      kind: 'Gemm',
      shape: [10, 300],
      weight: 'fc3.weight',
      parameters: 3000,
      bytes: 12000,
    },
  ]);
  t.deepEqual(mlp.opsets, { 'ai.onnx': 17 });
  t.is(mlp.irVersion, 8);
  t.deepEqual(mlp.inputs, [{ name: 'image', type: 'float32', dims: ['batch', 784] }]);
  t.deepEqual(mlp.outputs, [{ name: 'logits', type: 'float32', dims: ['batch', 10] }]);
  t.is(mlp.bytes.file, statSync(fixture('mnist-mlp.onnx')).size);
  t.is(mlp.bytes.quantizable, 4 * 545_000);
  t.true(mlp.bytes.quantizable + mlp.bytes.otherWeights < mlp.bytes.file);

  const cnn = await inspectModel(fixture('mnist-cnn.onnx'));
  t.deepEqual(
    cnn.layers.map(({ kind, shape }) => [kind, ...shape]),
    [
      ['Conv', 8, 25],
      ['Conv', 32, 8 * 25],
      ['MatMul', 320, 512],
      ['Gemm', 100, 320],
      ['MatMul', 10, 100],
    ],
  );
  // Their biases.
  t.deepEqual(
    cnn.others.find(({ kind }) => kind === 'Conv'),
    { kind: 'Conv', count: 2, bytes: 4 * (8 + 32) },
  );
  t.is(cnn.operators['Conv'], 2);
});

test('each form of a weight: its shape is [outputs, inputs] of the layer', async (t) => {
  for (const [name, { build }] of Object.entries(cases)) {
    const { input } = files(t, build(plainWeights));
    const { layers, bytes, inputs } = await inspectModel(input);
    const tied = name.startsWith('tied');
    const square = name.startsWith('tied,');
    const shape = name === 'tied with an embedding' ? [50, 40] : square ? [40, 40] : [24, 40];
    t.deepEqual(layers[0]!.shape, shape as [number, number], name);
    t.true(
      layers.every(({ weight }) => weight !== ''),
      name,
    );
    t.true(
      layers.every((layer) => layer.bytes === 4 * layer.parameters),
      name,
    );
    // A tied weight counts once.
    const apart = tied ? layers.slice(0, 1) : layers;
    t.is(layers.length - apart.length, tied ? 1 : 0, name);
    t.is(
      bytes.quantizable,
      apart.reduce((sum, layer) => sum + layer.bytes, 0),
      name,
    );
    t.deepEqual(
      inputs.map((value) => value.name),
      ['x'],
      name,
    );
  }
});

test('other weights by operator, the largest first; types and dimensions that are not given', async (t) => {
  const model = network({
    nodes: [
      node('Gather', ['table', 'x'], ['a']),
      node('Constant', [], ['c'], { attributes: { value: tensor('', [3], random(3, 1)) } }),
      node('Add', ['a', 'c'], ['b']),
      node('MatMul', ['b', 'double'], ['d']),
      node('MatMul', ['d', 'batch'], ['y']),
    ],
    constants: [
      tensor('table', [100, 3], random(300, 2)),
      tensor('batch', [2, 3, 3], new Float64Array(18)),
      tensor('double', [3, 3], new Float64Array(9)),
      tensor('unused', [1000], random(1000, 3)),
    ],
    inputs: [valueInfo('x', DataType.INT64), float('z', ['', 5, 'n'])],
  });
  model.producerName = 'maker';
  model.producerVersion = '1.2';
  const inspection = await inspectModel(files(t, model).input);
  t.deepEqual(
    inspection.layers.map(({ kind, shape, weight, bytes }) => [kind, ...shape, weight, bytes]),
    [
      ['Gather', 100, 3, 'table', 1200],
      ['MatMul', 3, 3, 'double', 72],
    ],
  );
  t.is(inspection.bytes.quantizable, 1272);
  t.deepEqual(inspection.others, [
    { kind: 'unused', count: 1, bytes: 4000 },
    { kind: 'MatMul', count: 1, bytes: 144 },
    { kind: 'Add', count: 1, bytes: 12 },
  ]);
  t.is(inspection.bytes.otherWeights, 4156);
  t.is(inspection.producer, 'maker 1.2');
  t.deepEqual(inspection.operators, { Gather: 1, Constant: 1, Add: 1, MatMul: 2 });
  t.is(inspection.inputs[0]!.type, 'int64');
  t.deepEqual(inspection.inputs[1], { name: 'z', type: 'float32', dims: [null, 5, 'n'] });
});

test('nodes of the same name, or of none, have names of their own', async (t) => {
  const products = ['a', 'b', 'y'].map((output, i) =>
    node('MatMul', [['x', 'a', 'b'][i]!, 'w'], [output], { name: i === 2 ? '' : 'same' }),
  );
  const { input } = files(t, network({ nodes: products, constants: [tensor('w', [8, 8], random(64, 1))] }));
  const { layers } = await inspectModel(input);
  t.deepEqual(
    layers.map(({ name }) => name),
    ['same', 'same#2', 'y'],
  );
});

test('what is no path', async (t) => {
  for (const wrong of ['', undefined, null, 5, {}])
    await t.throwsAsync(inspectModel(wrong as string), {
      instanceOf: TypeError,
      message: /path of an ONNX file/,
    });
});
