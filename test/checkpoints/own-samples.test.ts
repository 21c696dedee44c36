import test, { type ExecutionContext } from 'ava';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  type CheckpointReport,
  planCheckpoint,
  type Progress,
  quantizeCheckpoint,
  quantizeLanguageModel,
} from '../../lib/index';
import { cases, weightsIn, writeModel } from '../decoders/tiny';
import { bytesButHashes } from '../runs/but-hashes';
import { temporaryFolder } from '../files/temporary-folder';
import { writeSmall } from './gguf/models';

const common = { bits: 4, groupSize: 16, method: 'gptq', ownSamples: 6, sequenceLength: 20 } as const;

function folderOf(t: ExecutionContext, change: Record<string, unknown> = {}, of = 'llama'): string {
  const golden = cases.find(({ name }) => name === of)!;
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, { ...golden.config, ...change }, weightsIn(golden), 'BF16');
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
  return folder;
}

const output = (t: ExecutionContext, name = 'out') => join(temporaryFolder(t), name);

function requireFitted(
  t: ExecutionContext,
  { layers, calibration, warnings }: CheckpointReport,
  blocks: number,
): void {
  // GGUF files have the embedding and the head in blocks too.
  const own = layers.filter(({ method }) => method === 'gptq');
  t.is(own.length, 7 * blocks);
  t.true(own.every(({ error }) => error.holdout !== null));
  // A whole text is held out.
  t.deepEqual(calibration, {
    fit: { documents: null, samples: 5, tokens: 100 },
    holdout: { documents: null, samples: 1, tokens: 20 },
  });
  t.deepEqual(
    warnings.filter((text) => /no effect|No calibration/.test(text)),
    [],
  );
}

for (const format of ['compressed-tensors', 'gptq', 'float', 'onnx'] as const)
  test(`a folder is fitted to texts that its own model draws: ${format}`, async (t) => {
    const folder = folderOf(t);
    const stages: string[] = [];
    let drawn: Progress | undefined;
    const onProgress = (progress: Progress) => {
      if (stages.at(-1) !== progress.stage) stages.push(progress.stage);
      if (progress.stage === 'draw') drawn = progress;
    };
    requireFitted(t, await quantizeCheckpoint(folder, output(t), { ...common, format, onProgress }), 3);
    t.is(stages[0], 'draw');
    t.deepEqual(drawn, { stage: 'draw', done: 120, total: 120 });
  });

test('GGUF files are, and are made so of folders', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  const file = output(t, 'f16.gguf');
  writeSmall(folder, 'llama', 'F16');
  await quantizeCheckpoint(folder, file, { format: 'gguf:f16' });
  const { method, ownSamples, sequenceLength } = common;
  const options = { method, ownSamples, sequenceLength, format: 'gguf:q4_0' } as const;
  const [one, other] = [output(t, 'a.gguf'), output(t, 'b.gguf')];
  for (const [from, to] of [
    [folder, one],
    [file, other],
  ] as const)
    requireFitted(t, await quantizeCheckpoint(from, to, options), 2);
  t.deepEqual(bytesButHashes(other), bytesButHashes(one));
});

test('an interrupted run draws the same texts again, and goes on to the same bytes; so does one with other threads', async (t) => {
  const folder = folderOf(t);
  const whole = output(t);
  const bytes = (path: string) => readFileSync(join(path, 'model.safetensors'));
  await quantizeLanguageModel(folder, whole, common);
  for (const stage of ['draw', 'capture'] as const) {
    const other = output(t);
    const controller = new AbortController();
    let left = stage === 'draw' ? 9 : 3;
    const onProgress = (progress: Progress) =>
      void (progress.stage === stage && --left === 0 && controller.abort(new Error('stop')));
    const { signal } = controller;
    await t.throwsAsync(quantizeCheckpoint(folder, other, { ...common, onProgress, signal }), {
      message: 'stop',
    });
    if (stage === 'draw') t.deepEqual(readdirSync(join(other, '..')), []);
    const { resumed } = await quantizeCheckpoint(folder, other, { ...common, resume: true, threads: 1 });
    t.is(resumed > 0, stage === 'capture');
    t.deepEqual(bytes(other), bytes(whole));
  }
  const fewer = output(t);
  await quantizeCheckpoint(folder, fewer, { ...common, ownSamples: 5 });
  t.notDeepEqual(bytes(fewer), bytes(whole));
});

test('widths for a target are chosen by them', async (t) => {
  const { groupSize, method, ownSamples, sequenceLength } = common;
  const options = { groupSize, method, ownSamples, sequenceLength, targetBits: 5 };
  const { budget, calibration } = await quantizeCheckpoint(folderOf(t), output(t), options);
  t.is(budget!.target.of, 'weights');
  t.is(calibration!.fit.tokens, 100);
});

test('a dry run draws nothing, and counts what would be', async (t) => {
  const folder = folderOf(t);
  const stages = new Set<string>();
  const onProgress = ({ stage }: Progress) => void stages.add(stage);
  const own = await planCheckpoint(folder, output(t), { ...common, onProgress });
  t.is(own.tokens, 120);
  t.false(stages.has('draw'));
  t.true(own.seconds! > 0 && own.memory > 0);
});

test('refused: other data besides, options of text, windows that the network has no places for, a first token that is none', async (t) => {
  const folder = folderOf(t);
  const refused = (options: CheckpointOptions, message: RegExp, from = folder) =>
    t.throwsAsync(quantizeCheckpoint(from, output(t), { ...common, ...options }), { message });
  await refused({ calibration: 'texts.txt' }, /"ownSamples" and "calibration" exclude each other/);
  await refused({ activations: 'x.safetensors' }, /"ownSamples" and "activations" exclude each other/);
  await refused({ samples: 3 }, /"samples" option is about "calibration" data/);
  const onProgress = () => t.fail();
  await t.throwsAsync(quantizeCheckpoint(folder, join(folder, '..'), { ...common, onProgress }), {
    code: 'ERR_VERTEXQ_EXISTS',
  });
  await refused({ ownSamples: 0 }, /"ownSamples"/);
  await refused(
    {},
    /"bos_token_id" should be a token below 40, and is 40/,
    folderOf(t, { bos_token_id: 40 }),
  );
  const learned = folderOf(t, { bos_token_id: null }, 'gpt2');
  await refused({ sequenceLength: 65 }, /there are 16 positions/, learned);
  await t.throwsAsync(quantizeCheckpoint(folder, output(t), { sequenceLength: 8 }), {
    message: /"calibration" data or "ownSamples"/,
  });
  const { warnings } = await quantizeCheckpoint(folder, output(t), { ...common, method: 'msq' });
  t.regex(warnings.join('\n'), /"ownSamples" option has no effect/);
});

test('a network that gives no distribution is told of', async (t) => {
  const golden = cases.find(({ name }) => name === 'llama')!;
  const weights = weightsIn(golden);
  weights['model.norm.weight']!.values[3] = Infinity;
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, golden.config, weights);
  await t.throwsAsync(quantizeCheckpoint(folder, output(t), common), {
    code: 'ERR_VERTEXQ_NOT_FINITE',
    message: /the text that the float network draws: row 0 of the output/,
  });
});
