import { clone, fromBinary, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ModelOptions, quantizeModel, verifyModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { ModelProtoSchema, type ModelProto } from '../../lib/containers/onnx/onnx_pb';
import { runFake } from '../cli/fake';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, float, network, random } from './networks';

/** Products, a product turned round, a Gemm, a convolution and a table, of which the product and the table share a weight. */
const model = network({
  nodes: [
    node('MatMul', ['x', 'a'], ['r'], { name: 'first' }),
    node('Tanh', ['r'], ['s']),
    node('Gemm', ['s', 'b', 'bias'], ['t'], { name: 'second', attributes: { transB: 1n } }),
    node('Reshape', ['t', 'form'], ['u']),
    node('Conv', ['u', 'k'], ['y'], { name: 'third' }),
  ],
  constants: [
    tensor('a', [40, 32], random(1280, 1)),
    tensor('b', [48, 32], random(1536, 2)),
    tensor('bias', [48], random(48, 3)),
    tensor('form', [4], BigInt64Array.of(-1n, 3n, 4n, 4n)),
    tensor('k', [8, 3, 3, 3], random(216, 4)),
  ],
  inputs: [float('x', ['batch', 40])],
  outputs: [float('y', ['batch', 8, 2, 2])],
});
const calibration = [feed([200, 40], 1)];

/** Changes an ONNX file. */
function change(path: string, edit: (model: ModelProto) => void): void {
  const own = clone(ModelProtoSchema, fromBinary(ModelProtoSchema, readFileSync(path)));
  edit(own);
  writeFileSync(path, toBinary(ModelProtoSchema, own));
}

for (const options of [
  { format: 'matmulnbits', bits: 4 },
  { format: 'matmulnbits', bits: 2, groupSize: 16 },
  { format: 'matmulnbits', bits: 3, grid: 'integer' },
  { format: 'matmulnbits', bits: 8, groupSize: 'channel' },
  { format: 'qdq', bits: 4 },
  { format: 'qdq', bits: 8, groupSize: 'channel' },
  { format: 'float', bits: 3 },
] as ModelOptions[])
  for (const how of ['with data', 'without data'])
    test(`verify: what was written is as far from the original as the report says: ${JSON.stringify(options)}, ${how}`, async (t) => {
      const { input, output } = files(t, model);
      const data = how === 'with data' ? { calibration, method: 'gptq' as const } : {};
      const { layers, skipped } = await quantizeModel(input, output, { ...options, ...data });
      t.is(skipped.length, 0);
      const { weights, faults, notCompared, identical } = await verifyModel(output, input);
      t.deepEqual([faults, notCompared], [[], []]);
      t.deepEqual(weights.map(({ name }) => name).sort(), layers.map(({ name }) => name).sort());
      for (const { name, error, shape, bits } of weights) {
        const report = layers.find((layer) => layer.name === name)!;
        t.deepEqual(shape, report.shape);
        t.true(Math.abs(error! - report.error.weight) < 1e-5 * report.error.weight + 1e-7, `${name}: ${error}, told ${report.error.weight}`); // prettier-ignore
        t.is(bits === null, options.format === 'float');
      }
      t.true(identical.tensors >= 2);
      if (options.format === 'float') return;
      const alone = await verifyModel(output);
      t.deepEqual([alone.faults, alone.original], [[], null]);
      t.is(alone.weights.length, layers.length);
    });

for (const format of ['matmulnbits', 'qdq', 'float'] as const)
  test(`verify: weights in branches, and those that are computed, of silero_vad_v5 as ${format}`, async (t) => {
    const input = join('node_modules', '@ricky0123', 'vad-web', 'dist', 'silero_vad_v5.onnx');
    const output = join(temporaryFolder(t), 'out.onnx');
    const { layers } = await quantizeModel(input, output, { format, bits: 4 });
    const { weights, faults, notCompared, identical } = await verifyModel(output, input);
    t.deepEqual([faults, notCompared, weights.length], [[], [], layers.length]);
    t.true(identical.tensors > 100);
    for (const { name, error } of weights)
      t.true(Math.abs(error! - layers.find((layer) => layer.name === name)!.error.weight) < 1e-6, name);
  });

test('verify: what is not as it should be is told, a layer or tensor a sentence', async (t) => {
  const { input, output } = files(t, model);
  await quantizeModel(input, output, { calibration, method: 'gptq', bits: 4 });
  const bad = join(dirname(output), 'bad.onnx');
  for (const [edit, message] of [
    [
      ({ graph }: ModelProto) => {
        const { rawData } = graph!.initializer.find(({ name }) => name === 'a_scales')!;
        new DataView(rawData.buffer, rawData.byteOffset).setFloat32(0, Infinity, true);
      },
      /^layer "first" has a weight that is -?(Infinity|NaN)$/,
    ],
    [
      ({ graph }: ModelProto) =>
        void graph!.initializer.find(({ name }) => name === 'a_Q4')!.rawData.fill(0x5a),
      /^layer "first" is farther from the original than zeros would be$/,
    ],
    [
      ({ graph }: ModelProto) => {
        const scales = graph!.initializer.find(({ name }) => name === 'a_scales')!;
        scales.rawData = scales.rawData.slice(4);
        scales.dims = [BigInt(scales.rawData.length / 4)];
      },
      /^layer "first" cannot be read back: "a_scales" has \d+ numbers, and \d+ belong to/,
    ],
    [
      ({ graph }: ModelProto) =>
        void (graph!.initializer.find(({ name }) => name === 'bias')!.rawData[3]! ^= 1),
      /^tensor "bias" differs from the original$/,
    ],
  ] as const) {
    copyFileSync(output, bad);
    change(bad, edit);
    const { faults } = await verifyModel(bad, input);
    t.regex(faults.join('\n'), new RegExp(message.source, 'm'));
  }
  const other = files(t, network({ nodes: [node('MatMul', ['x', 'w'], ['y'])], constants: [tensor('w', [8, 8], random(64, 1))], inputs: [float('x', ['n', 8])], outputs: [float('y', ['n', 8])] })); // prettier-ignore
  await t.throwsAsync(verifyModel(other.input), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /no weights in few bits/,
  });
  await t.throwsAsync(verifyModel(join(dirname(output), 'none.onnx')), { code: 'ERR_VERTEXQ_FILE' });
  const { notCompared } = await verifyModel(output, other.input);
  t.regex(notCompared.join(), /nothing in the output is known to stand in its place/);
});

test('verify: a weight that is computed in very many ways is computed once', async (t) => {
  const doublings = 60;
  const weight = random(64, 1);
  const ends = { inputs: [float('x', ['n', 8])], outputs: [float('y', ['n', 8])] };
  const before = files(t, network({ nodes: [node('MatMul', ['x', 'w'], ['y'])], constants: [tensor('w', [8, 8], weight)], ...ends })); // prettier-ignore
  const codes = Int8Array.from(weight, (value) => Math.round(100 * value));
  const steps = Array.from({ length: doublings }, (_, i) => node('Add', [`d${i}`, `d${i}`], [`d${i + 1}`]));
  const after = files(
    t,
    network({
      nodes: [
        node('DequantizeLinear', ['q', 's'], ['d0']),
        ...steps,
        node('MatMul', ['x', `d${doublings}`], ['y']),
      ],
      constants: [tensor('q', [8, 8], codes), tensor('s', [], Float32Array.of(0.01 / 2 ** doublings))],
      ...ends,
    }),
  );
  const { weights, faults, notCompared } = await verifyModel(after.input, before.input);
  t.deepEqual([faults, notCompared], [[], []]);
  t.is(weights[0]!.bits, 8);
  t.true(weights[0]!.error! > 0 && weights[0]!.error! < 0.02, String(weights[0]!.error));
});

test('verify: the command reads networks too, and refuses a network beside a checkpoint', async (t) => {
  t.is((await runFake(['verify', 'out.onnx', 'in.onnx'])).code, 0);
  const { code, stderr } = await runFake(['verify', 'out.onnx', 'in.safetensors']);
  t.is(code, 2);
  t.regex(stderr, /out\.onnx and in\.safetensors are of two kinds/);
});
