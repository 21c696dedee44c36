import test from 'ava';
import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import {
  cancelRun,
  type FleetEvent,
  quantizeCheckpoint,
  runStatus,
  runWorker,
  submitRun,
} from '../../lib/index';
import { contents, plannedModel } from '../checkpoints/sharded/folders';
import { startWorkerProcess } from './processes';
import { startRedis } from './redis';

const whole = async (folder: string, input: string) => {
  mkdirSync(join(folder, 'whole'));
  await quantizeCheckpoint(input, join(folder, 'whole', 'out'), { groupSize: 32 });
  return contents(join(folder, 'whole', 'out'));
};

test('a worker that is killed −9: another takes its part over, to the same bytes', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, output, file } = await plannedModel(t);
  const expected = await whole(folder, input);
  await submitRun(file, { redis, parts: 2 });
  const first = startWorkerProcess(t, redis, folder, { stalledAfter: 1 });
  await first.until(({ event }) => event === 'job-started');
  first.kill('SIGKILL');
  t.is(await first.ended, 'SIGKILL');
  const events: FleetEvent[] = [];
  const onEvent = (event: FleetEvent) => events.push(event);
  const report = await runWorker({ redis, root: folder, untilEmpty: true, stalledAfter: 1, onEvent });
  t.true(report.jobs.done >= 1);
  t.deepEqual(contents(output), expected);
  t.like((await runStatus({ redis })).queues[0]!.runs[0], { state: 'done' });
});

test('a worker that is stopped and goes on after its part was given to another: one result', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, output, file } = await plannedModel(t);
  const expected = await whole(folder, input);
  await submitRun(file, { redis, parts: 1 });
  const first = startWorkerProcess(t, redis, folder, { stalledAfter: 1 });
  await first.until(({ event }) => event === 'job-started');
  first.kill('SIGSTOP');
  await runWorker({ redis, root: folder, untilEmpty: true, stalledAfter: 1 });
  t.deepEqual(contents(output), expected);
  first.kill('SIGCONT');
  await setTimeout(1500);
  first.kill('SIGTERM');
  t.is(await first.ended, 0);
  t.deepEqual(contents(output), expected);
  t.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith('.')),
    [],
  );
});

test('SIGTERM: the units on their way are kept, the part is given back, and nothing counts as a failure', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, output, file } = await plannedModel(t);
  const expected = await whole(folder, input);
  await submitRun(file, { redis, parts: 1, attempts: 1 });
  const drain = new AbortController();
  const onEvent = ({ event }: FleetEvent) => event === 'job-started' && drain.abort();
  const report = await runWorker({ redis, root: folder, drain: drain.signal, onEvent });
  t.like(report.jobs, { done: 0, failed: 0, returned: 1 });
  const between = (await runStatus({ redis })).queues[0]!;
  t.like(between.jobs, { waiting: 1, active: 0, failed: 0 });
  t.like(await runWorker({ redis, root: folder, untilEmpty: true }), { jobs: { done: 2, failed: 0 } });
  t.deepEqual(contents(output), expected);
});

test('a run that is cancelled while it is worked on ends within seconds, and goes on when it is submitted again', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, output, file } = await plannedModel(t);
  const expected = await whole(folder, input);
  const { run } = await submitRun(file, { redis, parts: 4 });
  await cancelRun(run, { redis });
  t.like((await runStatus({ redis })).queues[0]!.runs[0], { state: 'cancelled' });
  t.like((await runStatus({ redis })).queues[0]!.jobs, { waiting: 0, active: 0, delayed: 0 });
  t.like(await runWorker({ redis, root: folder, untilEmpty: true }), { jobs: { done: 0 } });
  t.false((await submitRun(file, { redis, parts: 4 })).found);
  // Paused, its worker holds the part: that part alone is ended by the worker.
  const first = startWorkerProcess(t, redis, folder);
  await first.until(({ event }) => event === 'job-started');
  first.kill('SIGSTOP');
  await cancelRun(run, { redis });
  first.kill('SIGCONT');
  await setTimeout(3000);
  first.kill('SIGTERM');
  await first.ended;
  const state = (await runStatus({ redis })).queues[0]!.runs[0]!.state;
  t.true(state === 'cancelled' || state === 'done', state);
  if (state === 'done') return;
  await submitRun(file, { redis, parts: 3 });
  await runWorker({ redis, root: folder, untilEmpty: true });
  t.deepEqual(contents(output), expected);
  await t.throwsAsync(cancelRun('0'.repeat(32), { redis }), {
    code: 'ERR_VERTEXQ_JOB',
    message: /no run 0+ in/,
  });
});

test('Redis that is killed and started again while workers work: nothing is lost', async (t) => {
  const server = await startRedis(t);
  const { url: redis } = server;
  const { folder, input, output, file } = await plannedModel(t);
  const expected = await whole(folder, input);
  await submitRun(file, { redis, parts: 6 });
  let restarted: Promise<void> | undefined;
  const troubles: string[] = [];
  const onEvent = ({ event, message }: FleetEvent) => {
    if (event === 'job-done') restarted ??= server.kill().then(() => server.start());
    if (event === 'queue-error') troubles.push(message!);
  };
  const report = await runWorker({ redis, root: folder, untilEmpty: true, stalledAfter: 2, onEvent });
  await restarted;
  t.true(report.jobs.done >= 6, JSON.stringify([report, troubles]));
  t.deepEqual(contents(output), expected);
  t.like((await runStatus({ redis })).queues[0]!.runs[0], { state: 'done' });
});

test('a part that fails is tried again, then fails its run, which status tells; others go on', async (t) => {
  const { url: redis } = await startRedis(t);
  const [bad, well] = [await plannedModel(t), await plannedModel(t)];
  await submitRun(bad.file, { redis, parts: 1, priority: 5 });
  await submitRun(well.file, { redis, parts: 1 });
  const { appendFileSync } = await import('node:fs');
  appendFileSync(join(bad.input, 'tokenizer.json'), ' ');
  const events: FleetEvent[] = [];
  const root = [bad.folder, well.folder];
  await runWorker({ redis, root, untilEmpty: true, onEvent: (event) => events.push(event) });
  const failed = events.filter(({ event }) => event === 'job-failed');
  t.is(failed.length, 1);
  t.like(failed[0], { code: 'ERR_VERTEXQ_PLAN', final: true });
  const { runs } = (await runStatus({ redis })).queues[0]!;
  const state = (output: string) => runs.find((run) => run.output === output)!;
  t.is(state(well.output).state, 'done');
  t.like(state(bad.output), { state: 'failed' });
  t.regex(state(bad.output).error!, /^part 0\/1: .*tokenizer\.json.*\[ERR_VERTEXQ_PLAN\]$/);
  // The one of the higher priority was begun first.
  t.is(events.find(({ event }) => event === 'job-started')!.run, bad.plan.id.slice(0, 32));
});
