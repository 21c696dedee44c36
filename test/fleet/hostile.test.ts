import test, { type ExecutionContext } from 'ava';
import { Queue } from 'bullmq';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkedJob } from '../../lib/fleet/job-data';
import { kernels } from '../../lib/environment';
import { type FleetEvent, runStatus, runWorker, submitRun, version } from '../../lib/index';
import { plannedModel } from '../checkpoints/sharded/folders';
import { temporaryFolder } from '../files/temporary-folder';
import { startRedis } from './redis';

const good = () => ({
  schemaVersion: 1,
  vertexq: version,
  kernels: { ...kernels() },
  plan: '/shared/plan.json',
  sha256: 'a'.repeat(64),
  run: 'b'.repeat(32),
  shard: { index: 1, count: 3 },
});
type Job = Record<string, unknown>;

/** Changes to a job, and what is said of each. */
const changes: [string, (job: Job) => unknown, RegExp][] = [
  ['null', () => null, /Expected the options to be an object, not null/],
  ['a list', () => [1], /not an array/],
  ['a text', () => 'x', /not "x"/],
  ['with something more', (job) => ({ ...job, command: 'rm' }), /Unknown option "command"/],
  ['with a member of another prototype', () => JSON.parse('{"__proto__":{"plan":"/x"}}') as unknown, /Unknown option "__proto__"/],
  ['of another schema', (job) => ({ ...job, schemaVersion: 2 }), /"schemaVersion"/],
  ['without a version', ({ vertexq: _, ...job }) => job, /"vertexq" to be given/],
  ['with a number for a version', (job) => ({ ...job, vertexq: 1 }), /"vertexq" option to be a version, not 1/],
  ['with no kernels', (job) => ({ ...job, kernels: {} }), /"kernels\.blas" to be given/],
  ['with kernels of a list', (job) => ({ ...job, kernels: [] }), /not an array/],
  ['with a relative plan', (job) => ({ ...job, plan: '../plan.json' }), /"plan" to be an absolute path/],
  ['with a NUL in the plan', (job) => ({ ...job, plan: '/a\0b' }), /"plan" to be an absolute path/],
  ['with a plan of a long path', (job) => ({ ...job, plan: `/${'x'.repeat(5000)}` }), /"plan" to be an absolute path/],
  ['with more than any job holds', (job) => ({ ...job, plan: `/${'x'.repeat(50_000)}` }), /expected 16384 characters of data at most/],
  ['with a short hash', (job) => ({ ...job, sha256: 'ab' }), /"sha256" option to be 64 hexadecimal digits/],
  ['with a run that leads elsewhere', (job) => ({ ...job, run: '../../../../../../../etc/passwd/' }), /"run" option to be 32 hexadecimal digits/],
  ['with a part of nothing', (job) => ({ ...job, shard: { index: 0, count: 0 } }), /count.*from 1 to 10000, not 0/],
  ['with a part beyond the last', (job) => ({ ...job, shard: { index: 3, count: 3 } }), /"shard\.index" to be below 3/],
  ['with a part of a fraction', (job) => ({ ...job, shard: { index: 0.5, count: 3 } }), /index.*whole number/],
  ['with more parts than any', (job) => ({ ...job, shard: { index: 0, count: 2 ** 40 } }), /from 1 to 10000/],
  ['with half of a part', (job) => ({ ...job, shard: { index: 0 } }), /"shard\.count" to be given/],
  ['with no part', ({ shard: _, ...job }) => job, /"shard" to be given/],
]; // prettier-ignore

for (const [what, change, message] of changes)
  test(`a job ${what} is refused, and the message says why`, (t) => {
    t.notThrows(() => checkedJob('job 1', 'part', good()));
    const error = t.throws(() => checkedJob('job 1', 'part', change(good())), { code: 'ERR_VERTEXQ_JOB' });
    t.regex(error.message, message);
    t.regex(error.message, /^job 1: /);
    t.true(error.message.length < 500);
  });

test('a job of no known name, and an end with a part, are refused', (t) => {
  for (const name of ['', 'exec', '__proto__', undefined, 1])
    t.throws(() => checkedJob('job 1', name, good()), {
      code: 'ERR_VERTEXQ_JOB',
      message: /"part" or "finish"/,
    });
  t.throws(() => checkedJob('job 1', 'finish', good()), { message: /no "shard"/ });
});

/** Puts one job into a queue, as anyone can who reaches Redis, and has a worker look at it. */
async function tried(t: ExecutionContext, change: (job: Job, folder: string) => Job, more = {}) {
  const { url: redis, port } = await startRedis(t);
  const { folder, file, plan } = await plannedModel(t);
  const job = { ...good(), plan: file, run: plan.id.slice(0, 32), sha256: '' };
  job.sha256 = createHash('sha256').update(readFileSync(file)).digest('hex');
  const queue = new Queue('vertexq', { connection: { port }, prefix: 'vertexq' });
  await queue.add('part', change(job, folder), { jobId: 'x-0' });
  await queue.close();
  const drain = new AbortController();
  const events: FleetEvent[] = [];
  const onEvent = (event: FleetEvent) => {
    events.push(event);
    if (/^job-(done|failed|refused)$/.test(event.event)) drain.abort();
  };
  const before = readdirSync(folder);
  const report = await runWorker({ redis, root: folder, threads: 1, drain: drain.signal, onEvent, ...more });
  return {
    report,
    event: events.find(({ event }) => /^job-(done|failed|refused)$/.test(event))!,
    folder,
    before,
  };
}

const elsewhere = { vertexq: '0.0.1' };
const refusals: [string, (job: Job, folder: string) => Job, RegExp, object?][] = [
  ['of another version', (job) => ({ ...job, ...elsewhere }), /^it is for vertexq "0\.0\.1", and this worker is /],
  ['of other kernels', (job) => ({ ...job, kernels: { blas: 'Katmai', simd: 'mmx' } }), /^it is for kernels of "Katmai" and "mmx", and this worker has /],
  ['whose plan is outside of the roots', (job) => ({ ...job, plan: '/etc/hostname' }), /^the plan, "\/etc\/hostname", is not within the folders of this worker/],
  ['whose plan is a link out of the roots', (job, folder) => {
      symlinkSync('/etc/hostname', join(folder, 'link.json'));
      return { ...job, plan: join(folder, 'link.json') };
    }, /^the plan, .*, is not within the folders/],
  ['whose plan goes out by ..', (job, folder) => ({ ...job, plan: `${folder}/../../etc/hostname` }), /^the plan, .*, (is not within|cannot be reached)/],
  ['whose plan is not there', (job) => ({ ...job, plan: `${String(job['plan'])}x` }), /^the plan, .*, cannot be reached by this worker: ENOENT/],
]; // prettier-ignore

for (const [what, change, message] of refusals)
  test(`a job ${what} is left to other workers, and the reason is told`, async (t) => {
    const { report, event, folder, before } = await tried(t, change);
    t.is(event.event, 'job-refused', event.message);
    t.regex(event.message!, message);
    t.like(report.jobs, { done: 0, failed: 0, refused: 1 });
    t.deepEqual(
      readdirSync(folder).filter((name) => name !== 'link.json'),
      before.filter((name) => name !== 'link.json'),
    );
  });

test('a plan that was written since, and one of another run, fail for good', async (t) => {
  const changed = await tried(t, (job) => ({ ...job, sha256: 'c'.repeat(64) }));
  t.like(changed.event, { event: 'job-failed', final: true, code: 'ERR_VERTEXQ_JOB' });
  t.regex(changed.event.message!, /is not the plan that was submitted/);
  const other = await tried(t, (job) => ({ ...job, run: 'd'.repeat(32) }));
  t.like(other.event, { event: 'job-failed', final: true, code: 'ERR_VERTEXQ_JOB' });
  const odd = await tried(t, () => ({ a: 1 }));
  t.like(odd.event, { event: 'job-failed', final: true, code: 'ERR_VERTEXQ_JOB' });
  t.false(readdirSync(odd.folder).some((name) => name.startsWith('.')));
});

test('an input, and an output, that lie outside of the roots are left alone', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, file } = await plannedModel(t);
  await submitRun(file, { redis, parts: 1 });
  const plans = join(folder, 'plans');
  mkdirSync(plans);
  renameSync(input, join(folder, 'moved'));
  symlinkSync(temporaryFolder(t), input);
  const drain = new AbortController();
  let told = '';
  const onEvent = ({ event, message }: FleetEvent) => {
    if (event !== 'job-refused') return;
    told = message!;
    drain.abort();
  };
  await runWorker({ redis, root: folder, drain: drain.signal, onEvent });
  t.regex(told, /^the input, .*, is not within the folders of this worker/);
  const { queues } = await runStatus({ redis });
  t.regex(queues[0]!.runs[0]!.refused!, /^the input, /);
  t.is(queues[0]!.jobs.delayed, 1);
});

test('what needs more memory than a worker has is left to others', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, file, plan } = await plannedModel(t);
  const units = plan.units.map((unit) => ({ ...unit, memory: 2 ** 31 }));
  writeFileSync(file, JSON.stringify({ ...plan, units }));
  await submitRun(file, { redis, parts: 1 });
  const drain = new AbortController();
  let told = '';
  const onEvent = ({ event, message }: FleetEvent) => {
    if (event !== 'job-refused') return;
    told = message!;
    drain.abort();
  };
  await runWorker({ redis, root: folder, memory: 2 ** 28, drain: drain.signal, onEvent });
  t.is(told, 'it needs 2.15 GB of memory, and this worker has 268 MB for it (--memory)');
  await t.throwsAsync(runWorker({ redis, root: folder, memory: 2 ** 28, concurrency: 4 }), {
    instanceOf: RangeError,
    message: /"memory" option to be 536870912 or more, as 4 parts are done at once/,
  });
});
