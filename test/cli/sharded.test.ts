import test, { type ExecutionContext } from 'ava';
import { appendFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runShardWith } from '../../lib/checkpoints/sharded/run-shard';
import type { PlanFile, ShardOfPlan, ShardOptions, ShardReport } from '../../lib/checkpoints/sharded/types';
import { shardOf } from '../../lib/cli/shard-flags';
import type { Failure } from '../../lib/reports/json-report';
import { warn } from '../../lib/warning-codes';
import { smallModel, writeFolder } from '../checkpoints/make';
import { contents, textModel } from '../checkpoints/sharded/folders';
import { temporaryFolder } from '../files/temporary-folder';
import { runFake } from './fake';
import { runWhole } from './library';

/** A checkpoint, where its output goes, and its plan as the command has written it. */
async function planned(t: ExecutionContext) {
  const folder = temporaryFolder(t);
  const [input, output, file] = ['in', 'out', 'plan.json'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
  writeFolder(input, smallModel('BF16', 128));
  const { code, stdout, stderr } = await runWhole(['plan', input, '-o', output, '--group-size', '32']);
  t.is(code, 0, stderr);
  writeFileSync(file, stdout);
  return { folder, input, output, file, plan: JSON.parse(stdout) as PlanFile, stderr };
}

test('plan, work by parts, finish: the bytes of quantize, however parts are told', async (t) => {
  const { folder, input, output, file, plan, stderr } = await planned(t);
  t.regex(stderr, /planned: \d+ units, for "vertexq work" and "vertexq finish"\n$/);
  t.regex(stderr, /q_proj/);
  mkdirSync(join(folder, 'whole'));
  const whole = join(folder, 'whole', 'out');
  t.is((await runWhole(['quantize', input, '-o', whole, '--group-size', '32'])).code, 0);
  const first = await runWhole(['work', file, '--shard', '0/3', '--json']);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stderr, /shard 0\/3: \d+ units done, of .*; 0 done before\n$/);
  const { units, shard } = JSON.parse(first.stdout) as ShardReport;
  t.deepEqual(shard, { index: 0, count: 3 });
  t.true(units.done > 0 && units.done < plan.units.length, JSON.stringify(units));
  for (const [flags, env] of [
    [['--shards', '3'], { JOB_COMPLETION_INDEX: '1' }],
    [[], { SLURM_ARRAY_TASK_ID: '2', SLURM_ARRAY_TASK_COUNT: '3', SLURM_ARRAY_TASK_MIN: '0' }],
  ] as const)
    t.like(await runWhole(['work', file, '--quiet', ...flags], { env }), { code: 0, stdout: '', stderr: '' });
  const finished = await runWhole(['finish', file, '--json']);
  t.is(finished.code, 0, finished.stderr);
  t.regex(finished.stderr, /verified and written: .*out\n$/);
  t.like(JSON.parse(finished.stdout), { output, verification: { faults: [] } });
  t.deepEqual(contents(output), contents(whole));
  t.deepEqual(readdirSync(folder).sort(), ['in', 'out', 'plan.json', 'whole']);
});

test('plan, work and finish of a fit to text: the bytes of quantize with as many parts', async (t) => {
  const { folder, input, calibration, output } = textModel(t);
  const flags = ['--calibration', calibration, '--parts', '2', '--bits', '3', '--group-size', '16'];
  const own = [...flags, '--method', 'gptq', '--batch-size', '2'];
  for (const of of ['whole', 'shared']) mkdirSync(join(output(of), '..'));
  t.is((await runWhole(['quantize', input, '-o', output('whole'), ...own, '--quiet'])).code, 0);
  const file = join(folder, 'plan.json');
  const { code, stdout, stderr } = await runWhole(['plan', input, '-o', output('shared'), ...own]);
  t.is(code, 0, stderr);
  writeFileSync(file, stdout);
  const { units } = JSON.parse(stdout) as PlanFile;
  const fits = units.filter(({ kind }) => kind === 'fit');
  t.is(fits.filter(({ needs }) => needs.length === 0).length, 1);
  t.true(fits.every(({ needs }) => needs.every((key) => fits.some((unit) => unit.key === key))));
  const work = (shard: string) => runWhole(['work', file, '--shard', shard, '--json']);
  for (const { code, stdout, stderr } of await Promise.all([work('0/2'), work('1/2')])) {
    t.is(code, 0, stderr);
    const report = JSON.parse(stdout) as ShardReport;
    // What the other has put together meanwhile is found.
    t.is(report.units.done + report.units.found, fits.length);
    t.is(report.layers.length, fits.length);
  }
  t.is((await runWhole(['finish', file, '--quiet'])).code, 0);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
});

test('finish without the results of a part: exit code 1, which ones, and what makes them', async (t) => {
  const { folder, output, file } = await planned(t);
  t.is((await runWhole(['work', file, '--shard', '1/2', '--quiet'])).code, 0);
  const { code, stdout, stderr } = await runWhole(['finish', file, '--json', '--quiet']);
  t.is(code, 1);
  t.regex(stderr, /^vertexq: \d+ of 12 results are missing in .*: of rows 0 to 128 of "model\.layers\.0\..*ERR_VERTEXQ_INCOMPLETE\]\n/); // prettier-ignore
  const { error } = JSON.parse(stdout) as Failure;
  t.like(error, { code: 'ERR_VERTEXQ_INCOMPLETE', exitCode: 1 });
  t.regex(error.remedy!, /Run "vertexq work" again/);
  t.false(readdirSync(folder).includes('out'));
  t.regex(
    (await runWhole(['work', file])).stderr,
    /shard 0\/1: [1-9]\d* units done, .*; [1-9]\d* done before/,
  );
  t.is((await runWhole(['finish', file])).code, 0);
  for (const command of ['work', 'finish'])
    t.like(await runWhole([command, file]), {
      code: 4,
      stderr: `vertexq: ${output} is there already: remove it, or plan for another output [ERR_VERTEXQ_EXISTS]\n"vertexq explain ERR_VERTEXQ_EXISTS" says what to do\n`,
    });
});

test('a plan that was changed, or of an input that was, is refused with exit code 3', async (t) => {
  const { folder, input, plan } = await planned(t);
  const changed = join(folder, 'changed.json');
  const refused = async (text: string, message: RegExp) => {
    writeFileSync(changed, text);
    for (const command of ['work', 'finish']) {
      const { code, stderr } = await runWhole([command, changed]);
      t.is(code, 3, stderr);
      t.regex(stderr, message);
      t.regex(stderr, /\[ERR_VERTEXQ_PLAN\]\n/);
    }
  };
  await refused('', /changed\.json: it is no plan file, as it is no JSON/);
  await refused(JSON.stringify({ ...plan, vertexq: '0.0.0' }), /made by vertexq "0\.0\.0", and this is/);
  const units = plan.units.map((unit, i) => (i === 1 ? { ...unit, memory: unit.memory + 1 } : unit));
  await refused(JSON.stringify({ ...plan, units }), /"memory" of units\[1\] was \d+ and is now \d+/);
  appendFileSync(join(input, 'tokenizer.json'), ' ');
  await refused(JSON.stringify(plan), /of the input's "tokenizer\.json" was .* and is now/);
  t.deepEqual(readdirSync(folder).sort(), ['changed.json', 'in', 'plan.json']);
});

test('Ctrl-C: units on their way are finished and kept, no other is begun, and the next worker goes on', async (t) => {
  const { folder, file } = await planned(t);
  const controller = new AbortController();
  const { code, stderr } = await runWhole(['work', file], {
    signal: controller.signal,
    runShard: (plan, options, files) =>
      runShardWith(files, plan, { ...options, onProgress: () => controller.abort() }),
  });
  t.is(code, 130);
  t.regex(stderr, /Ending: units on their way are finished and kept\..*\nvertexq: interrupted\n$/);
  const results = readdirSync(
    join(
      folder,
      readdirSync(folder).find((name) => name.startsWith('.vertexq-'))!,
    ),
  );
  t.true(results.length > 0 && results.length < 12, results.join());
  t.true(results.every((name) => /^[0-9a-f]{64}\.unit$/.test(name)), results.join()); // prettier-ignore
  const next = await runWhole(['work', file, '--json', '--quiet']);
  t.like(JSON.parse(next.stdout), { units: { done: 12 - results.length, found: results.length } });
});

test('the environment tells which part, and what it cannot mean is wrong usage', async (t) => {
  const kubernetes = { JOB_COMPLETION_INDEX: '2' };
  const slurm = (id: string, count = '4', more = {}) => ({ SLURM_ARRAY_TASK_ID: id, SLURM_ARRAY_TASK_COUNT: count, ...more }); // prettier-ignore
  for (const [env, shards, expected] of [
    [{}, undefined, undefined],
    [{ JOB_COMPLETION_INDEX: '' }, undefined, undefined],
    [kubernetes, 3, [2, 3]],
    [{ ...slurm('0'), ...kubernetes }, 3, [2, 3]],
    [slurm('3'), undefined, [3, 4]],
    [slurm('4', '4', { SLURM_ARRAY_TASK_MIN: '1', SLURM_ARRAY_TASK_STEP: '1' }), undefined, [3, 4]],
    [slurm('8', '3', { SLURM_ARRAY_TASK_MIN: '0', SLURM_ARRAY_TASK_STEP: '4' }), undefined, [2, 3]],
    // One task of an array again: by itself it would be all.
    [slurm('5', '1', { SLURM_ARRAY_TASK_MIN: '5' }), 8, [5, 8]],
  ] as const) {
    const found = shardOf(env, shards);
    t.deepEqual(found && [found.index, found.count], expected as [number, number] | undefined);
  }
  const work = async (args: string[], env = {}) => {
    let given: ShardOfPlan | undefined;
    const runShard = (_: string, { shard }: ShardOptions) => {
      given = shard;
      const counts = { units: { done: 0, found: 0 }, bytes: 0, layers: [], seconds: 0 };
      const warnings = [warn('WARN_VERTEXQ_OTHER_KERNELS', 'others')];
      return Promise.resolve({ plan: '', shard: shard ?? { index: 0, count: 1 }, ...counts, warnings });
    };
    const { code, stderr } = await runFake(['work', 'plan.json', ...args], { env, runShard });
    return { code, stderr, given };
  };
  t.like(await work(['--shard', '0/2'], kubernetes), { code: 0, given: { index: 0, count: 2 } });
  for (const [args, env, message] of [
    [['--shard', '2/2'], {}, /'2\/2' is invalid\. Expected i\/n, such as 0\/3, 1\/3 or 2\/3/],
    [['--shard', '0'], {}, /Expected i\/n/],
    [['--shards', '0'], {}, /Expected a whole number, 1 or more/],
    [['--shard', '0/2', '--shards', '2'], {}, /cannot be used with option '--shards <n>'/],
    [['--shards', '2'], {}, /nor SLURM_ARRAY_TASK_ID which this is: give --shard i\/n/],
    [[], kubernetes, /JOB_COMPLETION_INDEX is 2, and nothing tells of how many: give --shards/],
    [['--shards', '2'], kubernetes, /JOB_COMPLETION_INDEX is 2, and parts of 2 are counted from 0 to 1/],
    [['--shards', '2'], { JOB_COMPLETION_INDEX: '-1' }, /Expected JOB_COMPLETION_INDEX to be a whole number/],
    [
      [],
      slurm('7', '2', { SLURM_ARRAY_TASK_MIN: '3' }),
      /SLURM_ARRAY_TASK_ID is 7, of an array of 2, and parts/,
    ],
  ] as const) {
    const { code, stderr, given } = await work([...args], env);
    t.deepEqual([code, given], [2, undefined], args.join(' '));
    t.regex(stderr, message);
  }
  const strict = await work(['--strict']);
  t.is(strict.code, 1);
  t.regex(
    strict.stderr,
    /warning: others \[WARN_VERTEXQ_OTHER_KERNELS\]\nshard 0\/1: .*\nvertexq: --strict: 1 warning/,
  );
});

test('what has no units is refused with the reason, and options that a plan has no use for', async (t) => {
  const { input, folder } = await planned(t);
  const output = join(folder, 'other');
  const plan = (...args: string[]) => runWhole(['plan', ...args, '-o', output]);
  const drawn = await plan(input, '--own-samples', '4', '--json');
  t.is(drawn.code, 3);
  t.regex(drawn.stderr, /for several workers, as each worker would have to draw the texts of "ownSamples"/);
  t.like(JSON.parse(drawn.stdout), { error: { code: 'ERR_VERTEXQ_UNSUPPORTED', exitCode: 3 } });
  const network = await plan(join('test', 'fixtures', 'mnist-mlp.onnx'));
  t.is(network.code, 3);
  t.regex(network.stderr, /mnist-mlp\.onnx is no checkpoint: the work on a network is one piece/);
  for (const flag of ['--resume', '--threads', '--image-mean', '--tuning', '--time'])
    t.like(await plan(input, flag, '1'), { code: 2, stderr: `vertexq: unknown option '${flag}'\n` });
  const quiet = await plan(input, '--bits', '8', '--quiet', '--override', '*down_proj*=bits:4');
  t.is(quiet.code, 0);
  t.regex(quiet.stderr, /^warning: No calibration data .*\[WARN_VERTEXQ_NO_DATA\]\n$/);
  t.like((JSON.parse(quiet.stdout) as PlanFile).options, {
    bits: 8,
    overrides: [{ layers: '*down_proj*', bits: 4 }],
  });
  t.false(readdirSync(folder).includes('other'));
  t.is(readFileSync(join(folder, 'plan.json'), 'utf8').trim().split('\n').length, 1);
});
