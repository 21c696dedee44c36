import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { sampledHash } from '../../lib/files/sampled-hash';
import {
  type CheckpointOptions,
  inspectCheckpoint,
  inspectModel,
  type ModelOptions,
  quantizeCheckpoint,
  quantizeModel,
  version,
} from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { provenanceOf, provenanceText, readProvenance } from '../../lib/runs/provenance';
import { smallModel, writeSmall } from '../checkpoints/gguf/models';
import { runWhole } from '../cli/library';
import { temporaryFolder } from '../files/temporary-folder';
import { feed, files, float, network, random } from '../models/networks';
import { sameBytes } from '../files/same-bytes';

// What outputs say of where they come from.

const width = 32;
const small = network({
  nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'only' })],
  constants: [tensor('w', [width, width], random(width * width, 1))],
  inputs: [float('x', ['batch', width])],
  outputs: [float('y')],
});

test('networks: options, input and data are told; not how the work was done, where, or when', async (t) => {
  const { input, output } = files(t, small);
  const calibration = [feed([96, width], 1)];
  const options: ModelOptions = {
    calibration,
    bits: 3,
    method: 'gptq',
    groupSize: 16,
    overrides: [{ layers: 'only', bits: 2 }],
  };
  const { provenance } = await quantizeModel(input, output, { ...options, threads: 2 });
  t.deepEqual((await inspectModel(output)).provenance, provenance);
  t.is(provenance.vertexq, version);
  t.deepEqual(provenance.options, {
    ...{ format: 'matmulnbits', method: 'gptq', bits: 3, groupSize: 16 },
    overrides: [{ layers: 'only', bits: 2 }],
  });
  t.is(provenance.input, await sampledHash([input]));
  t.truthy(provenance.kernels && provenance.onnxruntime && provenance.data?.holdout);
  const bytes = readFileSync(output);

  // The same elsewhere, later, in other pieces.
  await setTimeout(20);
  const moved = join(temporaryFolder(t), 'moved.onnx');
  renameSync(input, moved);
  const data = calibration[0]!['x']!.data as Float32Array;
  const halves = [0, 1].map((i) => ({
    x: { data: data.slice(i * 48 * width, (i + 1) * 48 * width), dims: [48, width] },
  }));
  const again = await quantizeModel(moved, output, { ...options, threads: 1, memory: 2 ** 28 });
  sameBytes(t, readFileSync(output), bytes);
  t.deepEqual(again.provenance, provenance);
  const other = await quantizeModel(moved, output, { ...options, holdout: 0, calibration: halves });
  const whole = await quantizeModel(moved, output, { ...options, holdout: 0 });
  t.deepEqual(other.provenance, whole.provenance);
  t.is(whole.provenance.data!.holdout, null);

  // Other data, another network, nothing fitted.
  const told = await quantizeModel(moved, output, { ...options, calibration: [feed([96, width], 2)] });
  t.not(told.provenance.data!.calibration, provenance.data!.calibration);
  const rounded = await quantizeModel(moved, output, { bits: 4 });
  t.deepEqual(
    [rounded.provenance.data, rounded.provenance.kernels, rounded.provenance.onnxruntime],
    [null, null, null],
  );
  t.is((await inspectModel(moved)).provenance, null);
});

const tinyIn = (t: ExecutionContext) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F32', smallModel('llama', { blocks: 1 }));
  return folder;
};

test('checkpoints of all formats, and what is made of a GGUF file that vertexq wrote', async (t) => {
  const folder = tinyIn(t);
  const ids = {
    input_ids: {
      data: BigInt64Array.from({ length: 480 }, (_, i) => BigInt((i * i) % 250)),
      dims: [20, 24],
      type: 'int64',
    },
  };
  for (const options of [
    { format: 'compressed-tensors', groupSize: 32 },
    { format: 'gptq', groupSize: 32, bits: 4 },
    { format: 'float', calibration: ids, method: 'gptq' },
    { format: 'gguf:q4_0' },
    { format: 'gguf:q4_0', calibration: ids, method: 'gptq' },
  ] as CheckpointOptions[]) {
    const output = join(temporaryFolder(t), options.format === 'gguf:q4_0' ? 'out.gguf' : 'out');
    const { provenance } = await quantizeCheckpoint(folder, output, options);
    const { calibration, ...rest } = options;
    t.deepEqual(provenance.options, rest as Record<string, unknown>);
    t.is(provenance.data === null, calibration === undefined);
    t.deepEqual((await inspectCheckpoint(output)).provenance, provenance);
    const { stdout } = await runWhole(['inspect', output], { inspectCheckpoint });
    t.regex(stdout, new RegExp(`made by +vertexq ${version.replaceAll('.', '\\.')}\\n`));
    t.true(stdout.includes(`sha256 ${provenance.input}`));
    if (!output.endsWith('.gguf')) continue;
    const second = join(temporaryFolder(t), 'second.gguf');
    await quantizeCheckpoint(output, second, { format: 'gguf:q8_0' });
    t.is((await inspectCheckpoint(second)).provenance?.input, await sampledHash([output]));
  }
});

test('a size that was asked for is met with what the output says of itself', async (t) => {
  const folder = tinyIn(t);
  const data = BigInt64Array.from({ length: 960 }, (_, i) => BigInt((i * 7 + ((i * i) % 31)) % 250));
  const calibration = { input_ids: { data, dims: [40, 24], type: 'int64' } };
  const { bytes } = await quantizeCheckpoint(folder, `${folder}-3`, { bits: 3, groupSize: 32 });
  const report = await quantizeCheckpoint(folder, `${folder}-t`, {
    calibration,
    method: 'gptq',
    groupSize: 32,
    targetSize: bytes.after + 2000,
  });
  t.true(report.bytes.after <= bytes.after + 2000);
  t.is(report.budget!.bytes, report.bytes.after);
});

test('the hash of files tells sizes and bytes apart, not names, places or times', async (t) => {
  const folder = temporaryFolder(t);
  const [a, b] = [join(folder, 'a'), join(folder, 'b')];
  const large = Buffer.alloc(20_000_000, 7);
  for (const [first, second, same] of [
    [Buffer.from('x'), Buffer.from('x'), true],
    [Buffer.from('x'), Buffer.from('y'), false],
    [Buffer.from(''), Buffer.from('0'), false],
    [large, large, true],
    [large, large.subarray(1), false],
    [large, Buffer.from(large).fill(8, large.length - 1), false],
    [large, Buffer.from(large).fill(8, 0, 1), false],
    [large, Buffer.from(large).fill(8, 8_000_000, 8_700_000), false],
  ] as const) {
    writeFileSync(a, first);
    writeFileSync(b, second);
    t.is((await sampledHash([a])) === (await sampledHash([b])), same);
  }
  mkdirSync(join(folder, 'sub'));
  t.is(await sampledHash([a, b]), await sampledHash([b, a]));
  await t.throwsAsync(sampledHash([join(folder, 'absent')]), { code: 'ERR_VERTEXQ_FILE' });
});

test('presets and tuning decide, and are told; where they change nothing they are not', (t) => {
  const optionsOf = (options: object) => provenanceOf(options, 'onnx', '', null, null).options;
  t.deepEqual(optionsOf({ preset: 'best', tuning: 'scales' }), {
    format: 'onnx',
    preset: 'best',
    tuning: 'scales',
  });
  t.deepEqual(optionsOf({ tuning: 'none', weighting: 'none', effort: 'auto' }), { format: 'onnx' });
});

test('what others wrote under the key is nothing, and long overrides are told by their hash', (t) => {
  const own = provenanceOf({ bits: 4, threads: 2, calibration: 'x' }, 'qdq', 'hash', null, null);
  t.deepEqual(own.options, { format: 'qdq', bits: 4 });
  t.deepEqual(provenanceOf({ bits: 4, weighting: 'none', effort: 'auto' }, 'qdq', 'hash', null, null), own);
  t.deepEqual(readProvenance(provenanceText(own)), own);
  for (const text of [
    undefined,
    '',
    '{',
    'null',
    '[]',
    '1',
    '{}',
    '{"vertexq":1}',
    '{"vertexq":"1","input":"x","options":[]}',
  ])
    t.is(readProvenance(text), null);
  const overrides = [{ layers: Array.from({ length: 5000 }, (_, i) => `layer.${i}`), bits: 4 }];
  const long = provenanceOf({ overrides }, 'qdq', 'hash', null, null);
  t.regex((long.options['overrides'] as { sha256: string }).sha256, /^[0-9a-f]{64}$/);
});
