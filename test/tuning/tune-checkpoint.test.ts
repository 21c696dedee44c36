import test from 'ava';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  evaluateCheckpoint,
  inspectCheckpoint,
  type Progress,
  quantizeCheckpoint,
  tuneCheckpoint,
  type TuneOptions,
  verifyCheckpoint,
} from '../../lib/index';
import { readAll } from '../checkpoints/unpack';
import { ids, models } from './models';

// Scales of quantized language models, tuned to what the float ones say.

const holdout = ids(12, 14, 3);
const options: TuneOptions = { calibration: ids(72, 14), holdout, rounds: 2 };

/** Every file of a folder, in base64. */
const contents = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder).map((name) => [name, readFileSync(join(folder, name)).toString('base64')]),
  );

for (const format of ['compressed-tensors', 'gptq', 'gptq_v2'] as const)
  test(`${format}: the divergence on held-out data falls, as told, and scales alone have changed`, async (t) => {
    const grid = format === 'gptq' ? 'full-range' : 'asymmetric';
    // Whole words of codes take 16 inputs and outputs.
    const { float, quantized, output } = await models(t, 'llama', { format, grid, groupSize: 8 });
    const told: Progress[] = [];
    const report = await tuneCheckpoint(float, quantized, output, {
      ...options,
      onProgress: (progress) => void told.push(progress),
    });
    t.true(report.isKept);
    t.true(report.divergence.after.holdout! < report.divergence.before.holdout!);
    const { checkpoints } = await evaluateCheckpoint(float, [quantized, output], { data: holdout });
    // The last token of each window is judged here too.
    const [before, after] = checkpoints.map(({ klDivergence }) => klDivergence.mean);
    t.true(after! < before!);
    t.true(Math.abs(report.divergence.before.holdout! / before! - 1) < 0.15);
    const [{ tensors: given }, { tensors: made }] = [await readAll(quantized), await readAll(output)];
    const changed = [...given.keys()].filter(
      (name) => Buffer.compare(given.get(name)!.bytes, made.get(name)!.bytes) !== 0,
    );
    t.true(changed.length > 0 && changed.every((name) => /scales?$/.test(name)), changed.join());
    t.deepEqual([...made.keys()].sort(), [...given.keys()].sort());
    t.deepEqual((await verifyCheckpoint(output, float)).faults, []);
    t.is((await inspectCheckpoint(output)).quantizedAlready.length > 0, true);
    t.true(told.some(({ stage, done, total }) => stage === 'tune' && done === total));
    t.true(told.every(({ done, total }) => done <= total));
  });

test('the same again gives the same bytes, whatever the threads', async (t) => {
  const { float, quantized, output } = await models(t);
  await tuneCheckpoint(float, quantized, output, { ...options, threads: 1 });
  await tuneCheckpoint(float, quantized, `${output}-3`, { ...options, threads: 3, memory: 0 });
  t.deepEqual(contents(`${output}-3`), contents(output));
});

test('what cannot be tuned is refused, and leaves nothing', async (t) => {
  const { folder, float, quantized, output } = await models(t);
  const gguf = join(folder, 'model.gguf');
  await quantizeCheckpoint(float, gguf, { format: 'gguf:q8_0' }).catch(() => undefined);
  for (const [other, message] of [
    [float, /has no weights in few bits whose scales could be tuned/],
    ...(existsSync(gguf) ? [[gguf, /scales of GGUF files are not tuned/] as const] : []),
  ] as const) {
    const error = await t.throwsAsync(tuneCheckpoint(float, other, output, options), {
      code: 'ERR_VERTEXQ_UNSUPPORTED',
    });
    t.regex(error.message, message);
  }
  await t.throwsAsync(tuneCheckpoint(float, quantized, quantized, options), {
    instanceOf: RangeError,
    message: /output/,
  });
  await t.throwsAsync(tuneCheckpoint(float, quantized, folder, options), { message: /output|holds/ });
  await t.throwsAsync(tuneCheckpoint(float, quantized, output, {} as TuneOptions), { instanceOf: TypeError });
  const controller = new AbortController();
  const stopped = tuneCheckpoint(float, quantized, output, {
    ...options,
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('enough')),
  });
  await t.throwsAsync(stopped, { message: 'enough' });
  t.false(existsSync(output));
  t.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
  );
});

test('experts are tuned by the tokens that the network sends them', async (t) => {
  const { float, quantized, output } = await models(t, 'mixtral');
  const report = await tuneCheckpoint(float, quantized, output, { ...options, rounds: 1 });
  t.true(report.isKept && report.divergence.after.holdout! < report.divergence.before.holdout!);
  t.deepEqual(report.left, []);
});

test('where held-out data is not nearer, the scales stay as they were', async (t) => {
  const { float, quantized, output } = await models(t, 'llama', { bits: 8 });
  // One window that says the opposite of others would have to be chosen: eight bits leave nothing to win.
  const report = await tuneCheckpoint(float, quantized, output, {
    calibration: ids(2, 3),
    holdout: ids(20, 14, 3),
  });
  const { tensors: given } = await readAll(quantized);
  const { tensors: made } = await readAll(output);
  const same = [...given].every(([name, { bytes }]) => Buffer.compare(bytes, made.get(name)!.bytes) === 0);
  t.is(same, !report.isKept);
  if (!report.isKept) t.true(report.warnings.some((text) => /did not lower/.test(text)));
});
