import test, { type ExecutionContext } from 'ava';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  finishRun,
  planCheckpoint,
  planRun,
  quantizeCheckpoint,
  runShard,
} from '../../lib/index';
import { lines } from '../checkpoints/sharded/folders';
import { readAll } from '../checkpoints/unpack';
import { temporaryFolder } from '../files/temporary-folder';
import { cases, weightsIn, withFeedForward, writeModel } from './tiny';

// Language models whose rows are weighted by their own next tokens.

const ids = (count: number, length: number) => {
  const numbers = Array.from({ length: count * length }, (_, i) => BigInt((i * i * 7 + 13 * i) % 40));
  return { input_ids: { data: BigInt64Array.from(numbers), dims: [count, length], type: 'int64' } };
};

function folderOf(t: ExecutionContext, name: string): string {
  const golden = cases.find((own) => own.name === name)!;
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  return folder;
}

const options: CheckpointOptions = {
  ...{ calibration: ids(40, 14), method: 'gptq', bits: 3, weighting: 'outputs' },
};

test('every weight of a block has weights of its own, whatever the threads, and the plan takes the time into account', async (t) => {
  const folder = folderOf(t, 'llama');
  const [one, three] = [`${folder}-1`, `${folder}-3`];
  const report = await quantizeCheckpoint(folder, one, { ...options, threads: 1 });
  await quantizeCheckpoint(folder, three, { ...options, threads: 3 });
  t.deepEqual((await readAll(one)).tensors, (await readAll(three)).tensors);
  const effective = new Map(report.layers.map(({ name, weighted }) => [name, weighted?.effectiveRows]));
  const ofBlock = ['q', 'k', 'v'].map((part) => effective.get(`model.layers.1.self_attn.${part}_proj`));
  t.is(new Set(ofBlock).size, 3);
  for (const { name, weighted, error, warnings } of report.layers) {
    t.true(
      weighted !== null || warnings.some((text) => /rows count alike: weighted, its rows/.test(text)),
      name,
    );
    t.true(error.holdout! > 0, name);
  }
  const [plain, weighed] = [
    await planCheckpoint(folder, `${folder}-p`, { ...options, weighting: 'none' }),
    await planCheckpoint(folder, `${folder}-p`, options),
  ];
  t.is(plain.tokens, weighed.tokens);
  t.true(weighed.memory >= plain.memory);
});

/** More output channels than are fitted at once. */
const many = 100;

for (const name of ['gpt2', 'llama'])
  test(`channels of ${name} make up for each other, whatever the threads and who does it`, async (t) => {
    const golden = withFeedForward(
      cases.find((own) => own.name === name)!,
      many,
    );
    const folder = join(temporaryFolder(t), 'model');
    mkdirSync(folder);
    writeModel(folder, golden.config, weightsIn(golden), 'BF16');
    const calibration = join(folder, '..', 'tokens.jsonl');
    writeFileSync(calibration, lines(24, 14));
    const given = { ...options, calibration, weighting: 'both', format: 'float' } as const;
    const made = async (to: string, own: CheckpointOptions) => {
      const report = await quantizeCheckpoint(folder, to, { ...given, ...own });
      return { report, tensors: (await readAll(to)).tensors };
    };
    const one = await made(`${folder}-1`, { threads: 1 });
    const three = await made(`${folder}-3`, { threads: 3 });
    t.deepEqual(three.tensors, one.tensors);
    t.true(one.report.layers.every(({ warnings }) => !warnings.some((text) => /by itself/.test(text))));
    const plan = await planRun(folder, `${folder}-shared`, given);
    await runShard(plan, { shard: { index: 0, count: 1 } });
    await finishRun(plan);
    t.deepEqual((await readAll(`${folder}-shared`)).tensors, one.tensors, 'a worker');
    const rows = await made(`${folder}-rows`, { weighting: 'outputs' });
    t.notDeepEqual(rows.tensors, one.tensors);
  });

test('channels are not fitted in parts, and experts each by itself', async (t) => {
  const folder = folderOf(t, 'mixtral');
  await t.throwsAsync(
    quantizeCheckpoint(folder, `${folder}-out`, { ...options, weighting: 'channels', parts: 2 }),
    {
      ...{ instanceOf: RangeError, message: /"parts" and "weighting": "channels" exclude each other/ },
    },
  );
  const { layers } = await quantizeCheckpoint(folder, `${folder}-out`, { ...options, weighting: 'channels' });
  for (const { name, weighted, warnings } of layers) {
    t.is(weighted, null);
    t.is(
      warnings.some((text) => /fitted by itself: the network picks its rows/.test(text)),
      name.includes('.experts.'),
      name,
    );
  }
});

test('experts, whose tokens the network picks, count all of them alike and say so', async (t) => {
  const folder = folderOf(t, 'mixtral');
  const { layers } = await quantizeCheckpoint(folder, `${folder}-out`, options);
  for (const { name, weighted, warnings } of layers) {
    if (!name.includes('.experts.')) continue;
    t.is(weighted, null);
    t.true(
      warnings.some((text) => /rows count alike: the network picks its rows/.test(text)),
      name,
    );
  }
  t.true(layers.some(({ weighted }) => weighted !== null));
});
