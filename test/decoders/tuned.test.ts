import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  type CheckpointReport,
  type Progress,
  quantizeCheckpoint,
} from '../../lib/index';
import { checkpointSummary } from '../../lib/reports/checkpoint-table';
import { floats, readAll } from '../checkpoints/unpack';
import { temporaryFolder } from '../files/temporary-folder';
import { cases, weightsIn, writeModel } from './tiny';

// Language models whose blocks are tuned when their layers are fitted.

const ids = (count: number, length: number) => {
  const numbers = Array.from({ length: count * length }, (_, i) => BigInt((i * i * 7 + 13 * i) % 40));
  return { input_ids: { data: BigInt64Array.from(numbers), dims: [count, length], type: 'int64' } };
};

function folderOf(t: ExecutionContext, name: string, dtype: 'BF16' | 'F16' | 'F32' = 'BF16'): string {
  const golden = cases.find((own) => own.name === name)!;
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, golden.config, weightsIn(golden), dtype);
  return folder;
}

const options: CheckpointOptions = {
  ...{ calibration: ids(40, 14), batchSize: 5, method: 'gptq', bits: 3, grid: 'asymmetric', groupSize: 4 },
};
const tuned: CheckpointOptions = { ...options, tuning: 'scales' };

/** Every file, in base64. */
const contents = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => [name, readFileSync(join(parentPath, name)).toString('base64')]),
  );

const blocksOf = ({ layers }: CheckpointReport) =>
  [
    ...new Map(layers.flatMap((layer) => (layer.tuned ? [[layer.tuned.block, layer.tuned]] : []))).values(),
  ] as NonNullable<CheckpointReport['layers'][number]['tuned']>[];

test('scales change where the error of a block on held-out rows falls, codes before the first block do not, whatever the threads', async (t) => {
  const folder = folderOf(t, 'llama');
  const [plain, one, three] = [`${folder}-0`, `${folder}-1`, `${folder}-3`];
  await quantizeCheckpoint(folder, plain, options);
  const told: Progress[] = [];
  const onProgress = (progress: Progress) => void told.push(progress);
  const report = await quantizeCheckpoint(folder, one, { ...tuned, threads: 1, onProgress });
  const steps = told.filter(({ stage }) => stage === 'tune');
  t.true(steps.length > 0 && steps.every(({ layer, share }) => /down_proj$/.test(layer!) && share! <= 1));
  const shares = told.flatMap(({ share }) => share ?? []);
  t.deepEqual(
    [...shares].sort((a, b) => a - b),
    shares,
  );
  await quantizeCheckpoint(folder, three, { ...tuned, threads: 3 });
  const [before, after] = [(await readAll(plain)).tensors, (await readAll(one)).tensors];
  t.deepEqual(after, (await readAll(three)).tensors);
  const blocks = blocksOf(report);
  t.is(blocks.length, 3);
  t.true(blocks.some(({ isKept }) => isKept));
  for (const { before: was, after: is, isKept } of blocks) {
    t.is(isKept, is.holdout! < was.holdout!);
    t.true(is.calibration! < was.calibration!);
  }
  for (const part of ['self_attn.q_proj', 'mlp.down_proj']) {
    const [codes, scales] = ['packed', 'scale'].map((end) => `model.layers.0.${part}.weight_${end}`);
    t.deepEqual(after.get(codes!), before.get(codes!));
    t.is(after.get(scales!)!.dtype, 'BF16');
    const [was, is] = [before, after].map((all) => floats(all.get(scales!)!.bytes, 'BF16'));
    const change = is!.map((scale, i) => Math.abs(scale / was![i]! - 1));
    t.true(Math.max(...change) < 0.2);
    t.is(
      change.some((part) => part > 0),
      blocks[0]!.isKept,
    );
  }
  t.regex(
    checkpointSummary(report, { color: false }),
    /scales of 3 blocks tuned: mean error against the float network on held-out rows/,
  );
});

test('without held-out rows the rows of the fit decide, and weights of rows are those of the fits', async (t) => {
  const folder = folderOf(t, 'qwen3', 'F32');
  const report = await quantizeCheckpoint(folder, `${folder}-a`, { ...tuned, holdout: 0 });
  for (const { before, after, isKept } of blocksOf(report)) {
    t.is(before.holdout, null);
    t.is(isKept, after.calibration! < before.calibration!);
    t.true(isKept);
  }
  const weighted = await quantizeCheckpoint(folder, `${folder}-b`, { ...tuned, weighting: 'outputs' });
  t.true(blocksOf(weighted).some(({ isKept }) => isKept));
});

for (const [name, formats] of [
  ['mixtral', ['compressed-tensors', 'onnx']],
  ['gpt2', ['gptq_v2']],
  ['gemma2', ['compressed-tensors', 'gptq_v2', 'onnx']],
] as const)
  test(`of another architecture, ${name}: all layers but experts are tuned, as far as formats take them`, async (t) => {
    const folder = folderOf(t, name, 'F32');
    for (const format of formats) {
      const report = await quantizeCheckpoint(folder, `${folder}-${format}`, {
        ...tuned,
        ...{ format, bits: 4, groupSize: format === 'onnx' ? 16 : 4 },
      });
      for (const { name: layer, tuned: told } of report.layers)
        t.is(told !== undefined, !layer.includes('.experts.'), `${format}, ${layer}`);
    }
  });

test('the same bytes after an interruption anywhere', async (t) => {
  const folder = folderOf(t, 'llama');
  for (const format of ['compressed-tensors', 'onnx'] as const) {
    const all = { ...tuned, format, ...(format === 'onnx' && { bits: 4 as const, groupSize: 16 }) };
    const whole = `${folder}-${format}`;
    let steps = 0;
    await quantizeCheckpoint(folder, whole, {
      ...all,
      onProgress: ({ stage }) => void (steps += Number(stage === 'capture')),
    });
    const read = async (path: string) => (format === 'onnx' ? contents(path) : (await readAll(path)).tensors);
    for (const part of [0.4, 0.9]) {
      const output = `${whole}-${part}`;
      const controller = new AbortController();
      let count = 0;
      const onProgress = ({ stage }: Progress) =>
        void (
          stage === 'capture' &&
          ++count === Math.floor(part * steps) &&
          controller.abort(new Error('stop'))
        );
      await t.throwsAsync(
        quantizeCheckpoint(folder, output, { ...all, onProgress, signal: controller.signal }),
        {
          message: 'stop',
        },
      );
      const report = await quantizeCheckpoint(folder, output, { ...all, resume: true });
      t.true(report.resumed > 0);
      t.is(blocksOf(report).length, 3);
      t.deepEqual(await read(output), await read(whole));
    }
  }
});

test('what cannot be tuned is refused, with the options that it is about', async (t) => {
  const folder = folderOf(t, 'llama');
  const refused = (given: CheckpointOptions, message: RegExp) =>
    t.throwsAsync(quantizeCheckpoint(folder, `${folder}-no`, given), { instanceOf: RangeError, message });
  await refused({ tuning: 'scales' }, /"tuning" option is about "calibration" data or "ownSamples"/);
  await refused({ ...tuned, method: 'msq' }, /"msq" fits no layer to data: there is nothing to tune/);
  await refused(
    { calibration: ids(4, 4), tuning: 'scales', format: 'gguf' },
    /"gguf" holds scales in few bits/,
  );
});
