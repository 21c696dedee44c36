import test from 'ava';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  finishRun,
  planCheckpoint,
  planRun,
  quantizeCheckpoint,
  runShard,
} from '../../../lib/index';
import { UnitStore } from '../../../lib/checkpoints/sharded/unit-store';
import { sharedBytes } from '../../../lib/native/shared';
import { temporaryFolder } from '../../files/temporary-folder';
import { writeSmall } from '../gguf/models';
import { fileOf, smallModel, tensor, type Tensors, writeFolder } from '../make';
import { contents, plannedModel } from './folders';

const repository = join(__dirname, '..', '..', '..');
const count = 3;

/** Inputs, names of outputs and options: of each container, of plain rounding and of fits. */
const runs: [string, (folder: string) => { input: string; output: string; options: CheckpointOptions }][] = [
  ['a folder', (folder) => {
      writeFolder(join(folder, 'in'), smallModel('BF16', 128));
      return { input: 'in', output: 'out', options: { groupSize: 32, overrides: [{ layers: '*down_proj*', bits: 8 }] } };
    }],
  ['a file of many small tensors', (folder) => {
      const many = Array.from({ length: 600 }, (_, i): [string, Tensors[string]] => [`m.${i}.weight`, tensor('F16', [32, 64], i)]);
      writeFileSync(join(folder, 'in.safetensors'), fileOf(Object.fromEntries(many)));
      return { input: 'in.safetensors', output: 'out.safetensors', options: { format: 'gptq', groupSize: 32 } };
    }],
  ['values on the grid', (folder) => {
      writeFolder(join(folder, 'in'), smallModel('F32', 64));
      return { input: 'in', output: 'out', options: { format: 'float', bits: 3 } };
    }],
  ['a GGUF file in parts', (folder) => {
      writeSmall(join(folder, 'in'), 'llama', 'F16');
      return { input: 'in', output: 'out.gguf', options: { format: 'gguf:q4_0', maxFileSize: 28_000 } };
    }],
  ['fits to recorded inputs', (folder) => {
      writeFolder(join(folder, 'in'), smallModel('BF16', 64));
      const names = ['self_attn.q_proj', 'mlp.up_proj', 'self_attn.o_proj'].map((name) => `model.layers.1.${name}.weight`);
      const rows = names.map((name, i): [string, Tensors[string]] => [name, tensor('F32', [200, 64], 50 + i)]);
      const activations = join(folder, 'seen.safetensors');
      writeFileSync(activations, fileOf(Object.fromEntries(rows)));
      return { input: 'in', output: 'out', options: { activations, effort: 0, bits: 3 } };
    }],
]; // prettier-ignore

for (const [name, make] of runs)
  test(`${name}: shards, one of them twice at once, give the bytes of a run of one process`, async (t) => {
    const folder = temporaryFolder(t);
    const { input, output, options } = make(folder);
    const from = join(folder, input);
    mkdirSync(join(folder, 'whole'));
    const whole = await quantizeCheckpoint(from, join(folder, 'whole', output), options);
    mkdirSync(join(folder, 'apart'));
    const plan = await planRun(from, join(folder, 'apart', output), options);
    const shard = (index: number) => runShard(plan, { shard: { index, count }, threads: 1 });
    const reports = await Promise.all([shard(2), shard(1), shard(1), shard(0)]);
    const all = plan.units.filter(({ kind }) => kind !== 'copy');
    t.is(new Set(plan.units.map(({ key }) => key)).size, plan.units.length);
    const doneBy = [0, 1, 2].map((index) => {
      const { units } = reports.find(({ shard }) => shard.index === index)!;
      return units.done + units.found;
    });
    t.is(doneBy.reduce((a, b) => a + b), all.length, doneBy.join()); // prettier-ignore
    t.true(doneBy.filter((units) => units > 0).length > 1, doneBy.join());
    t.like(await shard(1), { units: { done: 0, found: doneBy[1]! }, bytes: 0 });
    const report = await finishRun(plan);
    t.deepEqual(contents(join(folder, 'apart')), contents(join(folder, 'whole')));
    t.deepEqual(report.verification.faults, []);
    const told = ({ layers }: typeof whole) => layers.map((layer) => ({ ...layer, seconds: 0 }));
    t.deepEqual(told(report), told(whole));
    t.is(report.output, join(folder, 'apart', output));
    t.deepEqual(report.provenance, whole.provenance);
  });

test('a plan tells what a dry run does, and what of each file is whose', async (t) => {
  const { input, output, plan } = await plannedModel(t);
  const dry = await planCheckpoint(input, output, { groupSize: 32 });
  t.like(plan.summary, { ...dry, seconds: plan.summary.seconds });
  t.is(plan.output, output);
  const files = new Map(plan.files.map((file) => [file.name, file]));
  t.deepEqual([...files.keys()].sort(), readdirSync(input).sort());
  for (const [name, { made, bytes }] of files) {
    const ends = plan.units.map(({ writes }) => (writes.file === name ? writes.end : 0));
    t.is(Math.max(...ends), made === 'units' ? bytes : 0, name);
  }
  t.deepEqual((await planRun(input, output, { groupSize: 32 })).units, plan.units);
  const other = await planRun(input, output, { groupSize: 64 });
  t.true(plan.units.every(({ key }) => other.units.every((unit) => unit.key !== key)));
});

test('a worker that is killed leaves what another goes on with, to the same bytes', async (t) => {
  const { folder, input, output, plan, file } = await plannedModel(t);
  await quantizeCheckpoint(input, join(folder, 'whole'), { groupSize: 32 });
  const child = ['--import=tsx', join(repository, 'test', 'children', 'shard.ts'), file, '0', '1', '2'];
  const { signal, stderr } = spawnSync(process.execPath, child, { cwd: repository, encoding: 'utf8' });
  t.is(signal, 'SIGKILL', stderr);
  const missing = await t.throwsAsync(finishRun(file), { code: 'ERR_VERTEXQ_INCOMPLETE' });
  t.regex(
    missing.message,
    /^\d+ of 12 results are missing in .*: of rows 0 to \d+ of "model\.layers\..*work" makes them$/,
  );
  t.deepEqual(readdirSync(folder).includes('out'), false);
  const { units } = await runShard(file);
  t.true(units.found >= 2 && units.done > 0, JSON.stringify(units));
  await finishRun(file);
  t.deepEqual(contents(output), contents(join(folder, 'whole')));
  t.deepEqual(readdirSync(folder).sort(), ['in', 'out', 'plan.json', 'whole']);
  await t.throwsAsync(runShard(plan), { code: 'ERR_VERTEXQ_EXISTS', message: /out is there already/ });
  await t.throwsAsync(finishRun(plan), { code: 'ERR_VERTEXQ_EXISTS', message: /out is there already/ });
});

test('damaged results are told of, and made anew', async (t) => {
  const { folder, input, output, plan } = await plannedModel(t);
  await quantizeCheckpoint(input, join(folder, 'whole'), { groupSize: 32 });
  await runShard(plan);
  const results = join(folder, `.vertexq-${plan.id.slice(0, 32)}`);
  const [first, second, third, ...others] = readdirSync(results).map((name) => join(results, name));
  t.is(others.length, 9);
  const flip = (path: string, at: number) => {
    const bytes = readFileSync(path);
    bytes[bytes.length + at]! ^= 1;
    writeFileSync(path, bytes);
  };
  flip(first!, -1);
  truncateSync(second!, 3);
  writeFileSync(third!, Buffer.concat([Buffer.from([255, 255, 255, 255]), readFileSync(third!)]));
  await t.throwsAsync(finishRun(plan), {
    code: 'ERR_VERTEXQ_INCOMPLETE',
    message: /^1 of 12 results are missing/,
  });
  rmSync(second!);
  t.like(await runShard(plan), { units: { done: 3, found: 9 } });
  flip(first!, -1);
  await t.throwsAsync(finishRun(plan), {
    code: 'ERR_VERTEXQ_INCOMPLETE',
    message: /is missing or damaged: .*\.unit/,
  });
  t.like(await runShard(plan), { units: { done: 1, found: 11 } });
  await finishRun(plan);
  t.deepEqual(contents(output), contents(join(folder, 'whole')));
});

test('what results hold is read back before it gets its name', async (t) => {
  const { folder, output, plan } = await plannedModel(t);
  await runShard(plan);
  const store = new UnitStore(join(folder, `.vertexq-${plan.id.slice(0, 32)}`));
  const { key, writes } = plan.units.find(({ kind }) => kind === 'rows')!;
  const bytes = sharedBytes(writes.bytes);
  t.truthy(await store.read(key, bytes));
  // A worker that lies: all scales, behind codes of 4 bits, are NaN, and the checksum is theirs.
  const facts = { error: 0, signal: 1, zeroedGroups: 0, seconds: 0 };
  await store.put(key, bytes.fill(255, 128 * 64, 128 * 72), facts, undefined);
  await t.throwsAsync(finishRun(plan), { code: 'ERR_VERTEXQ_VERIFY', message: /cannot be read back/ });
  t.false(readdirSync(folder).includes('out'));
  for (const odd of [
    null,
    { error: 'x', signal: 1, zeroedGroups: 0, seconds: 0 },
    { error: 0, signal: 1, seconds: 0 },
  ]) {
    await store.put(key, bytes, odd as never, undefined);
    await t.throwsAsync(finishRun(plan), {
      code: 'ERR_VERTEXQ_INCOMPLETE',
      message: /is missing or damaged/,
    });
  }
  // Of another version, for one: to a worker it is as good as none.
  t.like(await runShard(plan), { units: { done: 1, found: 11 } });
  await finishRun(plan);
  t.true(readdirSync(output).includes('config.json'));
});

test('one process finishes a plan at a time', async (t) => {
  const { plan } = await plannedModel(t);
  await runShard(plan);
  const ends = await Promise.allSettled([finishRun(plan), finishRun(plan)]);
  t.deepEqual(ends.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const { reason } = ends.find(({ status }) => status === 'rejected') as { reason: Error & { code: string } };
  t.true(['ERR_VERTEXQ_LOCKED', 'ERR_VERTEXQ_EXISTS'].includes(reason.code), String(reason));
});
