import test from 'ava';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { smallModel, writeFolder } from './make';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

const repository = join(__dirname, '..', '..');

test('aborted before, during and after, and a progress callback that throws', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel('BF16', 128));
  const before = AbortSignal.abort('before');
  t.is(
    await quantizeCheckpoint(input, join(folder, 'a'), { signal: before }).catch((reason: unknown) => reason),
    'before',
  );
  t.false(existsSync(join(folder, 'a')));
  for (const at of [1, 6, 12]) {
    const controller = new AbortController();
    let calls = 0;
    const output = join(folder, `b${at}`);
    const onProgress = () => {
      if (++calls === at) controller.abort('during');
    };
    const reason: unknown = await quantizeCheckpoint(input, output, {
      signal: controller.signal,
      onProgress,
    }).catch((given: unknown) => given);
    t.is(reason, 'during');
    t.false(existsSync(join(output, 'model.safetensors.index.json')));
    await quantizeCheckpoint(input, output, { resume: true });
    t.is(readdirSync(output).length, 6);
  }
  const error = new Error('mine');
  const thrown = quantizeCheckpoint(input, join(folder, 'c'), {
    onProgress: () => {
      throw error;
    },
  });
  t.is(await t.throwsAsync(thrown), error);
  const controller = new AbortController();
  await quantizeCheckpoint(input, join(folder, 'd'), { signal: controller.signal });
  controller.abort();
});

test('progress counts the bytes of the input up to all of them', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel('F32'));
  const seen: number[] = [];
  let total = 0;
  await quantizeCheckpoint(input, join(folder, 'out'), {
    onProgress: (progress) => {
      if (progress.stage !== 'quantize') return;
      t.is(progress.unit, 'bytes');
      seen.push(progress.done);
      total = progress.total;
    },
  });
  t.deepEqual(
    seen,
    [...seen].sort((a, b) => a - b),
  );
  t.is(seen.at(-1), total);
  t.true(total > 300_000);
});

test('a process that exits, or dies of an error, and a worker that is terminated', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel('BF16', 256));
  await quantizeCheckpoint(input, join(folder, 'whole'), { groupSize: 32 });
  for (const [how, status] of [
    ['exit', 7],
    ['throw', 1],
    ['terminate', 0],
  ] as const) {
    const output = join(folder, how);
    const args = [typescript, join(__dirname, 'children', 'runtime.ts'), how, input, output];
    const run = spawnSync(process.execPath, args, { cwd: repository, encoding: 'utf8' });
    t.deepEqual([run.status, run.signal], [status, null], run.stderr);
    if (how === 'terminate') t.is(run.stdout, 'terminated\n');
    await quantizeCheckpoint(input, output, { groupSize: 32, resume: true });
    for (const name of readdirSync(join(folder, 'whole')))
      sameBytes(
        t,
        readFileSync(join(output, name)),
        readFileSync(join(folder, 'whole', name)),
        `${how}: ${name}`,
      );
  }
});
