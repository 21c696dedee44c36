import test from 'ava';
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type ModelOptions, planModel, quantizeModel, type RunPlan } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { type ModelProto, TensorProto_DataType as DataType } from '../../lib/containers/onnx/onnx_pb';
import { networkRuns } from '../../scripts/kills/runs';
import { runWhole } from '../cli/library';
import { floatToHalf } from '../numbers';
import { feed, files, float, folder, network, random } from './networks';

const size = 64;
const weight = (name: string, dims: number[]) =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((product, dim) => product * dim, 1),
      name.length,
    ),
  );

/** Products on both sides, a convolution in groups, a table that is looked up and used again, a vector and a matrix that is added. */
function mixed(opset: bigint): ModelProto {
  return network({
    model: { irVersion: 10n, opsetImport: [{ domain: '', version: opset }] },
    inputs: [float('x', ['batch', size])],
    outputs: [float('y')],
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'right' }),
      node('MatMul', ['left', 'a'], ['b'], { name: 'left' }),
      node('Gemm', ['b', 'g'], ['c'], { name: 'gemm', attributes: { transB: 1n } }),
      node('Reshape', ['c', 'shape'], ['d']),
      node('Conv', ['d', 'k'], ['e'], { name: 'conv', attributes: { group: 2n } }),
      node('Conv', ['d', 'k'], ['f'], { name: 'again', attributes: { group: 2n } }),
      node('Add', ['e', 'f'], ['y']),
    ],
    constants: [
      weight('w', [size, size]),
      weight('left', [20, 20]),
      weight('g', [32, size]),
      weight('k', [6, 2, 3, 3]),
      tensor('shape', [4], BigInt64Array.of(10n, 4n, 4n, 4n)),
    ],
  });
}

/** What both tell: of the plan's layers all, of the report's what is told before they are fitted. */
function requireSame(
  t: { deepEqual: (a: unknown, b: unknown, message?: string) => unknown },
  plan: RunPlan,
  report: Awaited<ReturnType<typeof quantizeModel>>,
  what: string,
) {
  const planned = plan.tensors
    .filter(({ action }) => action === 'quantize')
    .map(({ name, shape, bits, groupSize, bytes }) => ({ name, shape, bits, groupSize, bytes }));
  const done = report.layers.map(({ name, shape, bits, groupSize, bytes }) => ({
    ...{ name, shape, bits, groupSize, bytes },
  }));
  const byName = (list: { name: string }[]) => list.sort((a, b) => (a.name < b.name ? -1 : 1));
  t.deepEqual(byName(planned), byName(done), what);
  t.deepEqual(plan.skipped, report.skipped, what);
  t.deepEqual(plan.files, report.files, what);
  const { weightsBefore, weightsAfter, before } = report.bytes;
  t.deepEqual(
    [plan.bytes.before, plan.bytes.weightsBefore, plan.bytes.weightsAfter],
    [before, weightsBefore, weightsAfter],
    what,
  );
}

test('a plan of a network tells what a run does, to the byte of each weight', async (t) => {
  for (const opset of [13n, 17n, 21n]) {
    const { input, output } = files(t, mixed(opset));
    for (const format of ['matmulnbits', 'qdq', 'float'] as const)
      for (const options of [
        { bits: 4 },
        { bits: 3, grid: 'integer', groupSize: 'channel' },
        { bits: 8, groupSize: 16, externalData: true },
        { levels: 5, grid: 'asymmetric', groupSize: 48 },
        { bits: 2, grid: 'zero-free', groupSize: 32 },
        { bits: 4, grid: 'full-range', skip: 'again' },
      ] as ModelOptions[]) {
        const what = `${opset} ${format} ${JSON.stringify(options)}`;
        const given = { ...options, format };
        const plan = await planModel(input, output, given);
        t.deepEqual(
          readdirSync(dirname(input)).filter((name) => name.includes('.vertexq')),
          [],
          what,
        );
        requireSame(t, plan, await quantizeModel(input, output, given), what);
      }
  }
});

test('a plan of a network on data: methods, memory, and warnings as the run has them', async (t) => {
  for (const { name, input, folder: place, options } of networkRuns(folder(t))) {
    const output = join(dirname(place), 'out.onnx');
    const before = readdirSync(dirname(input));
    const plan = await planModel(input, output, options);
    t.deepEqual(readdirSync(dirname(input)), before, 'nothing is written');
    const report = await quantizeModel(input, output, options);
    requireSame(t, plan, report, name);
    t.deepEqual(plan.warnings, report.warnings, name);
    t.true(plan.memory > 0 && plan.memory < 2 ** 30, name);
    const asked = new Map(report.layers.map((layer) => [layer.name, layer.fellBackFrom ?? layer.method]));
    for (const one of plan.tensors)
      if (one.action === 'quantize') t.is(one.method as string, asked.get(one.name)!, `${name} ${one.name}`);
    t.is(plan.bitsPerWeight, (8 * plan.bytes.weightsAfter) / weightsOf(plan), name);
  }
});

const weightsOf = ({ tensors }: RunPlan) =>
  tensors.reduce((sum, { action, shape }) => sum + (action === 'quantize' ? shape[0]! * shape[1]! : 0), 0);

test('a plan of weights in float16', async (t) => {
  const half = weight('w', [size, size]);
  half.dataType = DataType.FLOAT16;
  half.rawData = new Uint8Array(floatToHalf(random(size * size, 3)).buffer);
  const model = network({
    inputs: [float('x', ['batch', size])],
    nodes: [
      node('Cast', ['x'], ['h'], { attributes: { to: BigInt(DataType.FLOAT16) } }),
      node('MatMul', ['h', 'w'], ['p'], { name: 'half' }),
      node('Cast', ['p'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    constants: [half],
  });
  const { input, output } = files(t, model);
  for (const format of ['matmulnbits', 'qdq', 'float'] as const) {
    const plan = await planModel(input, output, { format, bits: 4 });
    t.is(plan.tensors[0]!.dtype, 'FLOAT16');
    requireSame(t, plan, await quantizeModel(input, output, { format, bits: 4 }), format);
  }
});

test('a dry run runs nothing, and fails where the run would before it runs', async (t) => {
  // An operator that no runtime has stands behind the layer.
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
      node('Nowhere', ['a'], ['b'], { domain: 'nobody' }),
      node('MatMul', ['b', 'w'], ['y'], { name: 'second' }),
    ],
    constants: [weight('w', [size, size])],
    inputs: [float('x', ['batch', size])],
    model: {
      irVersion: 8n,
      opsetImport: [
        { domain: '', version: 17n },
        { domain: 'nobody', version: 1n },
      ],
    },
  });
  const { input, output } = files(t, model);
  const calibration = feed([40, size], 5);
  await t.throwsAsync(quantizeModel(input, output, { calibration, bits: 4 }), {
    code: 'ERR_VERTEXQ_RUNTIME',
  });
  const plan = await planModel(input, output, { calibration, bits: 4 });
  t.deepEqual(
    plan.tensors.map(({ name, action }) => [name, action]),
    [
      ['first', 'quantize'],
      ['second', 'quantize'],
    ],
  );
  // Tied, it counts once.
  t.is(plan.bytes.weightsBefore, 4 * size * size);
  for (const [options, expected] of [
    [{ calibration, bits: 4, skip: 'third' }, { instanceOf: RangeError }],
    [{ calibration, skip: '*' }, { code: 'ERR_VERTEXQ_NO_LAYERS' }],
    [{ calibration: feed([40, size + 1], 5) }, { code: 'ERR_VERTEXQ_CALIBRATION' }],
    [{ method: 'gptq' }, { instanceOf: RangeError }],
  ] as [ModelOptions, object][])
    await t.throwsAsync(planModel(input, output, options), expected, JSON.stringify(options));
  await t.throwsAsync(planModel(input, input, {}), { instanceOf: RangeError, message: /is the input/ });
});

test('--dry-run of a network: the table of checkpoints, JSON, and no file', async (t) => {
  const { input, output } = files(t, mixed(17n));
  const before = readdirSync(dirname(input));
  const { code, stdout, stderr } = await runWhole(['quantize', input, '-o', output, '--dry-run', '--json']);
  t.is(code, 0, stderr);
  t.regex(stderr, /^5 weights would be quantized: file .*bits a weight\n/);
  t.regex(stderr, /\nweight +dtype +shape +becomes +bits +group +size\n/);
  t.regex(stderr, /\nright +FLOAT +64×64 +msq +4 +32 +16\.4 kB → /);
  t.regex(stderr, /nothing was written\nwould be written: .*out\.onnx/);
  t.deepEqual(JSON.parse(stdout), JSON.parse(JSON.stringify(await planModel(input, output))));
  t.deepEqual(readdirSync(dirname(input)), before);
  const report = join(dirname(input), 'plan.json');
  t.is((await runWhole(['quantize', input, '-o', output, '--dry-run', '-q', '--report', report])).code, 0);
  t.deepEqual(readdirSync(dirname(input)).sort(), [...before, 'plan.json'].sort());
});
