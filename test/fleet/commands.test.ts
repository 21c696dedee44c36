import test from 'ava';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetStatus, quantizeCheckpoint, type WorkerReport } from '../../lib/index';
import { contents, plannedModel } from '../checkpoints/sharded/folders';
import { runFake } from '../cli/fake';
import { runWhole } from '../cli/library';
import { temporaryFolder } from '../files/temporary-folder';
import { startRedis } from './redis';

test('submit, worker, status, cancel: what is told, and as JSON', async (t) => {
  const { url } = await startRedis(t);
  const { folder, input, output, file, plan } = await plannedModel(t);
  mkdirSync(join(folder, 'whole'));
  await quantizeCheckpoint(input, join(folder, 'whole', 'out'), { groupSize: 32 });
  const run = plan.id.slice(0, 32);
  const call = (...args: string[]) => runWhole([...args, '--redis', url]);
  t.like(await call('status'), { code: 0, stdout: `Redis at ${url}\n\nqueue vertexq: 0 workers; 0 pieces of work being done, 0 waiting, 0 put off\nno runs\n` }); // prettier-ignore
  const submitted = await call('submit', file, '--parts', '3', '--json');
  t.is(submitted.code, 0, submitted.stderr);
  t.is(submitted.stderr, `${file}: submitted in 3 parts, queue vertexq, run ${run}\n`);
  t.deepEqual(JSON.parse(submitted.stdout), {
    submitted: [{ run, queue: 'vertexq', parts: 3, found: false }],
  });
  t.regex((await call('submit', file)).stderr, /is in the queue already/);
  t.regex((await call('cancel', run)).stderr, new RegExp(`^cancelled: run ${run}\n$`));
  t.regex((await call('status')).stdout, / cancelled .* 0\/3 /);
  t.is((await call('submit', file, '--quiet')).stderr, '');
  const worked = await call('worker', '--root', folder, '--until-empty', '--json');
  t.is(worked.code, 0, worked.stderr);
  t.regex(worked.stderr, /^\d\d:\d\d:\d\d worker started: queues vertexq\n/);
  t.regex(
    worked.stderr,
    new RegExp(`vertexq ${run.slice(0, 8)} part 0/1 done: 12 units of .*, 0 done before\n`),
  );
  t.regex(worked.stderr, /\n2 pieces of work done, 0 failed, 0 left to others, 0 given back, in .*\n$/);
  t.like(JSON.parse(worked.stdout) as WorkerReport, { jobs: { done: 2, failed: 0 } });
  t.deepEqual(contents(output), contents(join(folder, 'whole', 'out')));
  const status = await call('status', '--run', run, '--json');
  t.like((JSON.parse(status.stdout) as FleetStatus).queues[0]!.runs[0], { state: 'done', progress: 1 });
  const unknown = await call('cancel', '0'.repeat(32), '--json');
  t.is(unknown.code, 3);
  t.like(JSON.parse(unknown.stdout), { error: { code: 'ERR_VERTEXQ_JOB' } });
  t.regex((await call('cancel', 'x')).stderr, /"run" option to be 32 hexadecimal digits, not "x"/);
});

test('what flags of queues cannot mean is wrong usage', async (t) => {
  for (const [args, message] of [
    [['worker'], /required option '--root <folder...>' not specified/],
    [['worker', '--root', '.', '--rate', '10'], /n\/seconds, such as 10\/60/],
    [['worker', '--root', '.', '--queue', 'a', 'a'], /"queue" option has a queue twice/],
    [['worker', '--root', '.', '--queue', '../x'], /"queue" option to be the name of a queue/],
    [['worker', '--root', '.', '--memory', '1M'], /"memory" option/],
    [['submit'], /missing required argument 'plan\.json'/],
    [['submit', 'x', '--parts', '0'], /"parts" option to be a whole number from 1 to 10000, not 0/],
    [['submit', 'x', '--priority', '2000'], /"priority" option/],
    [['cancel'], /missing required argument 'run'/],
    [['status', '--redis', 'http://x'], /redis/],
  ] as [string[], RegExp][]) {
    const { code, stderr } = await runWhole(args);
    t.is(code, 2, `${args.join(' ')}: ${stderr}`);
    t.regex(stderr, message);
  }
  const hostile = '\x1b[2Jx';
  const { stdout } = await runFake(['status'], {
    runStatus: () =>
      Promise.resolve({
        redis: 'redis://x',
        queues: [
          {
            ...{ queue: 'q', workers: 1, jobs: { waiting: 0, delayed: 0, active: 0, failed: 1 } },
            runs: [
              {
                ...{ run: hostile, queue: 'q', state: 'failed', plan: hostile, output: hostile, priority: 0 },
                ...{ submitted: hostile, parts: { count: 1, done: 0, active: 0 }, progress: 0, active: [] },
                ...{ error: hostile, refused: hostile },
              },
            ],
          },
        ],
      }),
  });
  t.false(stdout.includes('\x1b'));
  t.regex(stdout, /failed: \\x1b\[2Jx: /);
});

test('without bullmq the message says what to install', (t) => {
  // A copy of the program where there is no such package beside it.
  const folder = temporaryFolder(t);
  const root = join(__dirname, '..', '..');
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true });
  cpSync(join(root, 'package.json'), join(folder, 'package.json'));
  mkdirSync(join(folder, 'node_modules'));
  for (const name of [
    'commander',
    'fastest-levenshtein',
    'cli-table3',
    'cli-progress',
    'string-width',
    'emoji-regex',
    'is-fullwidth-code-point',
    'strip-ansi',
    'ansi-regex',
    '@bufbuild',
  ])
    // prettier-ignore
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true });
  const { status, stderr } = spawnSync(process.execPath, [join(folder, 'dist', 'cli', 'main.js'), 'status'], {
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });
  t.is(status, 1, stderr);
  t.regex(stderr, /A queue in Redis needs bullmq, .* npm install bullmq@6\.7\.0 ioredis@6\.0\.0 there/);
});
