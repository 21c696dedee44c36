import test from 'ava';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { finishRun, type PlanFile, planRun, runShard } from '../../../lib/index';
import { contents, plannedModel } from './folders';

type Changed = Record<string, never> & PlanFile;

/** Changes to a plan, and what is said of each. */
const changes: [string, (plan: Changed) => unknown, RegExp][] = [
  ['of another schema', (plan) => ({ ...plan, schemaVersion: 2 }), /expected "schemaVersion" to be 1, not 2/],
  ['of another version', (plan) => ({ ...plan, vertexq: '9.9.9' }), /made by vertexq "9\.9\.9", and this is /],
  ['no object', () => [1], /expected an object, not an array/],
  ['with an id that leads elsewhere', (plan) => ({ ...plan, id: '../../x' }), /expected "id" to be 64 hexadecimal digits/],
  ['with another id', (plan) => ({ ...plan, id: 'a'.repeat(64) }), /"id" of it was "a+" and is now/],
  ['with a relative output', (plan) => ({ ...plan, output: '../out' }), /expected "output" to be an absolute path/],
  ['with a NUL in a path', (plan) => ({ ...plan, input: '/a\0b' }), /expected "input" to be an absolute path/],
  ['with no list of units', (plan) => ({ ...plan, units: {} }), /expected "units" to be a list of objects, not a Object/],
  ['with null for a unit', (plan) => ({ ...plan, units: [null] }), /expected "units" to be a list of objects/],
  ['without its last unit', (plan) => ({ ...plan, units: plan.units.slice(0, -1) }), /units\[17\] was not given/],
  ['with a unit more', (plan) => ({ ...plan, units: [...plan.units, plan.units[0]] }), /the number of units was 19 and is now 18/],
  ['with an option that no plan has', (plan) => ({ ...plan, options: { threads: 4 } }), /no plan has the option "threads"/],
  ['with an option of no such value', (plan) => ({ ...plan, options: { bits: 99 } }), /its options are wrong: .*"bits"/],
  ['with other options', (plan) => ({ ...plan, options: { groupSize: 64 } }), /of (the output's|units)/],
  ['with a file to be read elsewhere', (plan) => ({ ...plan, options: { activations: '/etc/hostname' } }), /"\/etc\/hostname" was not given/],
  ['with calibration', (plan) => ({ ...plan, options: { calibration: '/etc/hostname' } }), /"\/etc\/hostname" was not given/],
  ['with own samples', (plan) => ({ ...plan, options: { ownSamples: 3 } }), /cannot be planned for several workers/],
  ['with a longer unit', (plan) => (Object.assign(plan.units[3]!.writes, { end: 2 ** 52 }), plan), /"writes\.end" of units\[3\] was 4503599627370496 and/],
  ['with a file out of the folder', (plan) => (Object.assign(plan.files[0]!, { name: '../../x' }), plan), /"name" of the output's "model-00001.* was "\.\.\/\.\.\/x"/],
  ['with a unit of another file', (plan) => (Object.assign(plan.units[0]!.writes, { file: '/etc/passwd' }), plan), /was "\/etc\/passwd" and is now/],
  ['nested deeply', (plan) => (Object.assign(plan.units[0]!, { rows: nested(20_000) }), plan), /units\[0\]/],
  ['of other kernels', (plan) => ({ ...plan, kernels: { blas: 'Z80', simd: 'none' } }), /kernels of "Z80" and "none", and this machine has/],
]; // prettier-ignore

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

test('a plan that was changed is refused by what was changed, and nothing is written', async (t) => {
  const { folder, file, plan } = await plannedModel(t);
  const before = readdirSync(folder);
  for (const [name, change, message] of changes) {
    const changed = change(structuredClone(plan) as Changed);
    const isCalibrated = name === 'with own samples';
    const code = isCalibrated ? 'ERR_VERTEXQ_UNSUPPORTED' : 'ERR_VERTEXQ_PLAN';
    if (name !== 'nested deeply') {
      writeFileSync(file, JSON.stringify(changed));
      await t.throwsAsync(runShard(file), { code, message }, name);
    } else await t.throwsAsync(runShard(changed as PlanFile), { code, message }, name);
    await t.throwsAsync(finishRun(changed as PlanFile), { code, message }, name);
    t.deepEqual(readdirSync(folder), before, name);
  }
  for (const text of ['', '{', '\ufffe', 'null', '"x"']) {
    writeFileSync(file, text);
    await t.throwsAsync(runShard(file), { code: 'ERR_VERTEXQ_PLAN' }, text);
  }
  await t.throwsAsync(runShard(join(folder, 'none.json')), { code: 'ERR_VERTEXQ_FILE' });
  await t.throwsAsync(runShard(7 as never), {
    instanceOf: TypeError,
    message: /path of a plan file, or a PlanFile/,
  });
});

test('an input that was written since is refused by the name of the file', async (t) => {
  for (const name of ['model-00002-of-00002.safetensors', 'tokenizer.json', 'config.json']) {
    const { input, plan } = await plannedModel(t);
    const path = join(input, name);
    if (name === 'config.json') writeFileSync(path, '{"model_type": "llama", "hidden_size": 128}');
    else if (name === 'tokenizer.json') appendFileSync(path, ' ');
    else {
      // The last bytes are those of a tensor; the time stays as it was to the second.
      const bytes = readFileSync(path);
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(path, bytes);
      utimesSync(path, 1e9, 1e9);
    }
    const message = new RegExp(`${name.replaceAll('.', '\\.')}" was .* and is now`);
    await t.throwsAsync(runShard(plan), { code: 'ERR_VERTEXQ_PLAN', message }, name);
    await t.throwsAsync(finishRun(plan), { code: 'ERR_VERTEXQ_PLAN', message }, name);
  }
});

test('other machines may have input and output elsewhere, under the same name', async (t) => {
  const { folder, input, output, plan } = await plannedModel(t);
  const there = join(folder, 'mounted');
  mkdirSync(there);
  symlinkSync(input, join(there, 'model'));
  const own = { input: join(there, 'model'), output: join(there, 'out') };
  await t.throwsAsync(runShard(plan, { output: join(there, 'other') }), {
    instanceOf: RangeError,
    message: /path that ends in "out", as in the plan/,
  });
  await runShard(plan, own);
  const { output: written } = await finishRun(plan, own);
  t.is(written, own.output);
  await runShard(plan);
  await finishRun(plan);
  t.deepEqual(contents(own.output), contents(output));
});

test('what cannot be cut into units is refused with the reason, and an output in the way by its path', async (t) => {
  const { input, output, folder } = await plannedModel(t);
  const refused = (options: object, message: RegExp) =>
    t.throwsAsync(planRun(input, output, options), { code: 'ERR_VERTEXQ_UNSUPPORTED', message });
  await refused({ calibration: 'texts.txt', tuning: 'scales' }, /several workers, as scales are tuned/);
  await refused(
    { calibration: 'texts.txt', method: 'vertex', time: 9 },
    /several workers, as what is made by the clock/,
  );
  await refused({ ownSamples: 4 }, /several workers, as each worker would have to draw/);
  await refused({ format: 'onnx' }, /several workers, as the format "onnx" is one network/);
  mkdirSync(output);
  await t.notThrowsAsync(planRun(input, output));
  writeFileSync(join(output, 'x'), '');
  await t.throwsAsync(planRun(input, output), {
    code: 'ERR_VERTEXQ_EXISTS',
    message: /out is there already/,
  });
  await t.throwsAsync(runShard(join(folder, 'plan.json'), { shard: { index: 3, count: 3 } }), {
    instanceOf: RangeError,
    message: /index from 0 to 2, as there are 3, not 3/,
  });
});

test('results are kept in a folder of ours alone, not behind a link', async (t) => {
  const { folder, plan } = await plannedModel(t);
  const elsewhere = join(folder, 'elsewhere');
  mkdirSync(elsewhere);
  symlinkSync(elsewhere, join(folder, `.vertexq-${plan.id.slice(0, 32)}`));
  await t.throwsAsync(runShard(plan), { code: 'ERR_VERTEXQ_FILE', message: /it is a link, or no folder/ });
  t.deepEqual(readdirSync(elsewhere), []);
});

test('a plan for lesser kernels is refused here by their names, and done where that is allowed', async (t) => {
  const { input, output, folder } = await plannedModel(t);
  const script = `require('./lib/index.ts').planRun(${JSON.stringify(input)}, ${JSON.stringify(output)}, { groupSize: 32 }).then((plan) => console.log(JSON.stringify(plan)))`;
  const { stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', '-e', script], {
    cwd: join(__dirname, '..', '..', '..'),
    encoding: 'utf8',
    env: { ...process.env, VERTEXQ_SIMD: 'portable' },
  });
  t.regex(stdout, /^\{/, stderr);
  const plan = JSON.parse(stdout) as PlanFile;
  t.is(plan.kernels.simd, 'portable');
  await t.throwsAsync(runShard(plan), {
    code: 'ERR_VERTEXQ_PLAN',
    message: /and "portable", and this machine has/,
  });
  const { warnings } = await runShard(plan, { otherKernels: true });
  t.regex(warnings.join(), /may differ in its last bits/);
  const report = await finishRun(plan, { otherKernels: true });
  t.regex(report.warnings.join(), /Some results were computed by other kernels than the plan's/);
  t.false(readdirSync(folder).some((name) => name.startsWith('.')));
});
