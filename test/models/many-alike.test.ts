import test from 'ava';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/models/onnx/make';
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
