import test from 'ava';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint } from '../../lib/index';
import { killAndResume } from '../../scripts/kills/kill-and-resume';
import { checkpointRuns } from '../../scripts/kills/runs';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, smallModel, tensor, type Tensors, writeFolder } from './make';
import { typescript } from '../typescript';
import { sameBytes } from '../files/same-bytes';

const repository = join(__dirname, '..', '..');
const child = join(__dirname, '..', 'children', 'quantize.ts');

/** The files that have their names; as texts, which are compared at once (`sameBytes`). */
const contents = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .map((name) => [name, readFileSync(join(folder, name), 'latin1')]),
  );

/** Runs that stop by themselves, as if they had been killed between two units. */
async function interrupted(
  input: string,
  output: string,
  options: CheckpointOptions,
  after: number,
): Promise<void> {
  let units = 0;
  const controller = new AbortController();
  await quantizeCheckpoint(input, output, {
    ...options,
    signal: controller.signal,
    onProgress: () => {
      if (++units === after) controller.abort(new Error('stop'));
    },
  }).catch(() => {});
}

/** For a checkpoint, for what becomes of it without a halt, and with halts. */
function foldersOf(t: Parameters<typeof temporaryFolder>[0]): Record<'input' | 'whole' | 'output', string> {
  const folder = temporaryFolder(t);
  return { input: join(folder, 'in'), whole: join(folder, 'whole'), output: join(folder, 'out') };
}

test('a run killed at any moment goes on, and writes the same bytes', async (t) => {
  const [plain, recorded] = checkpointRuns(temporaryFolder(t));
  const random = mulberry32(17);
  // `npm run kills -- --checkpoints` does more.
  for (const run of [plain!, recorded!]) t.log(await killAndResume(run, 3, random));
  t.pass();
});

test('an interrupted run does not do again what is done, but what is damaged', async (t) => {
  const { input, whole, output } = foldersOf(t);
  writeFolder(input, smallModel('BF16', 128));
  await quantizeCheckpoint(input, whole, { groupSize: 32 });
  for (const damage of ['none', 'journal', 'part', 'final'] as const) {
    rmSync(output, { recursive: true, force: true });
    await interrupted(input, output, { groupSize: 32 }, damage === 'final' ? 14 : 8);
    const work = join(output, '.vertexq');
    t.true(existsSync(join(work, 'manifest.json')));
    await t.throwsAsync(quantizeCheckpoint(input, output, { groupSize: 32 }), {
      code: 'ERR_VERTEXQ_RESUME',
      message: /holds the work of an interrupted run: go on with it with "resume"/,
    });
    if (damage === 'journal') appendFileSync(join(work, 'journal'), '0123456789abcdef ["half a li');
    const part = readdirSync(work).find((name) => name.endsWith('.part'));
    if (damage === 'part' && part !== undefined) truncateSync(join(work, part), 3000);
    const final = readdirSync(output).find((name) => name.endsWith('.safetensors'));
    if (damage === 'final' && final !== undefined) {
      const bytes = readFileSync(join(output, final));
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(join(output, final), bytes);
      await t.throwsAsync(quantizeCheckpoint(input, output, { groupSize: 32, resume: true }), {
        code: 'ERR_VERTEXQ_RESUME',
        message: /is not what the interrupted run wrote/,
      });
      unlinkSync(join(output, final));
    }
    const { resumed } = await quantizeCheckpoint(input, output, { groupSize: 32, resume: true });
    if (damage === 'none' || damage === 'journal') t.true(resumed > 0);
    t.deepEqual(contents(output), contents(whole), damage);
  }
});

test('a run that was killed while it cleaned up, and then again, is resumed too', async (t) => {
  const { input, whole, output } = foldersOf(t);
  writeFolder(input, smallModel('BF16', 128));
  const options = { groupSize: 32, resume: true };
  await quantizeCheckpoint(input, whole, options);
  // Then there are files of the same names, sizes and headers already: the same bytes, or as if it were, others.
  for (const scale of ['search', 'max'] as const)
    for (const units of [4, 7, 10, 12, 14]) {
      await quantizeCheckpoint(input, output, { ...options, scale });
      mkdirSync(join(output, '.vertexq'));
      await interrupted(input, output, options, units);
      t.true(existsSync(join(output, '.vertexq', 'manifest.json')), `${units} units`);
      await quantizeCheckpoint(input, output, options);
      t.deepEqual(contents(output), contents(whole), `${scale}, ${units} units`);
      rmSync(output, { recursive: true });
    }
});

test('a single file is resumed too', async (t) => {
  const folder = temporaryFolder(t);
  const [input, whole, output] = ['in', 'whole', 'out'].map((name) =>
    join(folder, `${name}.safetensors`),
  ) as [string, string, string];
  writeFileSync(input, fileOf(Object.assign({}, ...smallModel('F16')) as Tensors));
  for (const format of ['compressed-tensors', 'gptq'] as const) {
    await quantizeCheckpoint(input, whole, { format, groupSize: 16 });
    await interrupted(input, output, { format, groupSize: 16 }, 5);
    t.true(existsSync(`${output}.vertexq`));
    await quantizeCheckpoint(input, output, { format, groupSize: 16, resume: true });
    sameBytes(t, readFileSync(output), readFileSync(whole));
    unlinkSync(output);
  }
  t.deepEqual(readdirSync(folder).sort(), ['in.safetensors', 'whole.safetensors']);
});

test('what has changed since the interruption is said', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  await interrupted(input, output, { groupSize: 32 }, 6);
  const go = (options: CheckpointOptions) =>
    quantizeCheckpoint(input, output, { groupSize: 32, resume: true, ...options });
  const refused = async (options: CheckpointOptions, message: RegExp) => {
    await t.throwsAsync(go(options), { code: 'ERR_VERTEXQ_RESUME', message });
  };
  await refused({ bits: 3 }, /its options\.bits was not given and is now 3/);
  await refused({ groupSize: 64 }, /its options\.groupSize was 32 and is now 64/);
  await refused({ overrides: [{ layers: '*', bits: 8 }] }, /its options\.overrides was not given/);
  const shard = join(input, 'model-00001-of-00002.safetensors');
  utimesSync(shard, 1e9, 1e9);
  await refused({}, /its input\..*model-00001-of-00002\.safetensors\.modified was .* and is now "2001-09-09/);
  const manifest = join(output, '.vertexq', 'manifest.json');
  writeFileSync(manifest, '{');
  await refused({}, /manifest\.json cannot be read/);
  rmSync(output, { recursive: true });
  t.is((await go({ resume: true, threads: 1, memory: 2 ** 28 })).layers.length, 12);
});

test('two runs on one output', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel('BF16', 256));
  const outcomes = await Promise.allSettled(
    [1, 2].map(() => quantizeCheckpoint(input, output, { groupSize: 32, resume: true })),
  );
  t.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const [refused] = outcomes.filter((outcome) => outcome.status === 'rejected');
  t.like(refused!.reason, { code: 'ERR_VERTEXQ_LOCKED' });
  const first = quantizeCheckpoint(input, join(folder, 'again'), { groupSize: 32 });
  while (!existsSync(join(folder, 'again', '.vertexq', 'journal')))
    await new Promise((go) => setImmediate(go));
  const other = spawnSync(process.execPath, [typescript, child, input, join(folder, 'again')], {
    cwd: repository,
    encoding: 'utf8',
  });
  await first;
  t.regex(other.stdout, /^ERR_VERTEXQ_(LOCKED|FILE): /);
});

test('outputs that cannot be written', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel());
  const refused = async (output: string, message: RegExp, code: string | null = 'ERR_VERTEXQ_FILE') => {
    const error = await t.throwsAsync(quantizeCheckpoint(input, output), { message });
    t.is((error as { code?: string }).code ?? null, code);
  };
  await refused(input, /The output .* is the input/, null);
  symlinkSync(input, join(folder, 'link'));
  await refused(join(folder, 'link'), /The output .* is the input/, null);
  await refused(join(folder, 'no', 'out'), /the folder .* does not exist/);
  writeFileSync(join(folder, 'file'), '');
  await refused(join(folder, 'file'), /it exists and is no folder/);
  mkdirSync(join(folder, 'full'));
  writeFileSync(join(folder, 'full', 'mine'), '');
  await refused(join(folder, 'full'), /there is something in it already/, 'ERR_VERTEXQ_EXISTS');
  const single = join(folder, 'a.safetensors');
  writeFileSync(single, fileOf({ 'a.weight': tensor('F32', [4, 8], 1) }));
  await t.throwsAsync(quantizeCheckpoint(single, single), {
    instanceOf: RangeError,
    message: /is the input/,
  });
  await t.throwsAsync(quantizeCheckpoint(single, join(folder, 'full')), { message: /not a regular file/ });
  t.deepEqual(readdirSync(folder).sort(), ['a.safetensors', 'file', 'full', 'in', 'link']);
  if (process.getuid?.() === 0) return;
  mkdirSync(join(folder, 'closed'), { mode: 0o555 });
  await refused(join(folder, 'closed', 'out'), /not writable/);
  chmodSync(join(folder, 'closed'), 0o777);
});

test('an input that changes during the run', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  let changed = false;
  await t.throwsAsync(
    quantizeCheckpoint(input, output, {
      onProgress: () => {
        if (!changed) utimesSync(join(input, 'model-00001-of-00002.safetensors'), 1e9, 1e9);
        changed = true;
      },
    }),
    { code: 'ERR_VERTEXQ_FILE', message: /was changed while it was read/ },
  );
  t.deepEqual(
    readdirSync(output).filter((name) => name.includes('00001')),
    [],
  );
  t.false(existsSync(join(output, 'model.safetensors.index.json')));
});
