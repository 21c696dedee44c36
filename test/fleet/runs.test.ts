import test from 'ava';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  cancelRun,
  type FleetEvent,
  planRun,
  quantizeCheckpoint,
  runStatus,
  runWorker,
  submitRun,
} from '../../lib/index';
import { common, contents, plannedModel, textModel } from '../checkpoints/sharded/folders';
import { startRedis } from './redis';

test('a run through a queue, by two workers, gives the bytes of one process', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, output, file, plan } = await plannedModel(t);
  mkdirSync(join(folder, 'whole'));
  await quantizeCheckpoint(input, join(folder, 'whole', 'out'), { groupSize: 32 });
  const submitted = await submitRun(file, { redis, parts: 4, priority: 3 });
  t.deepEqual(submitted, { run: plan.id.slice(0, 32), queue: 'vertexq', parts: 4, found: false });
  t.true((await submitRun(file, { redis, parts: 2 })).found);
  const before = await runStatus({ redis });
  t.is(before.redis, redis);
  t.like(before.queues[0], { queue: 'vertexq', workers: 0, jobs: { waiting: 4, active: 0, delayed: 0 } });
  t.like(before.queues[0]!.runs[0], { state: 'waiting', output, priority: 3, progress: 0, error: null });
  const events: FleetEvent[] = [];
  const work = () =>
    runWorker({ redis, root: folder, untilEmpty: true, threads: 1, onEvent: (event) => events.push(event) });
  const reports = await Promise.all([work(), work()]);
  const done = reports.map(({ jobs }) => jobs.done);
  t.is(done[0]! + done[1]!, 5, done.join());
  t.true(reports.every(({ jobs: { failed, refused, returned } }) => failed + refused + returned === 0));
  t.deepEqual(contents(output), contents(join(folder, 'whole', 'out')));
  t.deepEqual(readdirSync(folder).sort(), ['in', 'out', 'plan.json', 'whole']);
  const after = await runStatus({ redis, run: submitted.run });
  t.like(after.queues[0]!.runs[0], { state: 'done', parts: { count: 4, done: 4, active: 0 }, progress: 1 });
  t.is(events.filter(({ event }) => event === 'job-done').length, 5);
  t.deepEqual(
    events.filter(({ event }) => event === 'queue-error'),
    [],
  );
  // Again: the output is what the plan is for, and nothing is left to do.
  t.false((await submitRun(file, { redis, parts: 2 })).found);
  t.like(await work(), { jobs: { done: 3, failed: 0 } });
  t.like((await runStatus({ redis })).queues[0]!.runs[0], { state: 'done' });
  await t.throwsAsync(cancelRun(submitted.run, { redis }), { code: 'ERR_VERTEXQ_JOB', message: /is done$/ });
});

test('a run that is fitted to text, in two parts, by two workers that wait for each other', async (t) => {
  const { url: redis } = await startRedis(t);
  const { folder, input, calibration, output } = textModel(t);
  const options = { ...common, calibration, parts: 2 };
  for (const of of ['whole', 'shared']) mkdirSync(join(output(of), '..'));
  await quantizeCheckpoint(input, output('whole'), options);
  const file = join(folder, 'plan.json');
  writeFileSync(file, JSON.stringify(await planRun(input, output('shared'), options)));
  const { run, parts } = await submitRun(file, { redis });
  t.is(parts, 2);
  const work = () => runWorker({ redis, root: folder, untilEmpty: true, threads: 1 });
  const reports = await Promise.all([work(), work()]);
  t.deepEqual(reports.map(({ jobs }) => jobs.done).sort(), [1, 2]);
  t.deepEqual(contents(output('shared')), contents(output('whole')));
  const { queues } = await runStatus({ redis, run });
  t.true(queues[0]!.runs[0]!.layers!.every(({ isFitted }) => isFitted));
});

test('workers of two queues do the runs of both, and begin no more parts in a time than the rate allows', async (t) => {
  const { url: redis } = await startRedis(t);
  const [one, other] = [await plannedModel(t), await plannedModel(t)];
  await submitRun(one.file, { redis, queue: 'first', parts: 6 });
  await submitRun(other.file, { redis, queue: 'second', parts: 6 });
  const began = new Map<string, number[]>();
  const work = () =>
    runWorker({
      ...{
        redis,
        root: [one.folder, other.folder],
        queue: ['first', 'second'],
        untilEmpty: true,
        threads: 1,
      },
      rate: { max: 3, seconds: 1 },
      onEvent: ({ event, queue }) => {
        if (event === 'job-started') began.set(queue!, [...(began.get(queue!) ?? []), performance.now()]);
      },
    });
  await Promise.all([work(), work()]);
  const { queues } = await runStatus({ redis, queue: ['first', 'second'] });
  t.deepEqual(
    queues.map(({ runs }) => runs.map(({ state }) => state)),
    [['done'], ['done']],
  );
  t.deepEqual(contents(one.output), contents(other.output));
  for (const name of ['first', 'second']) {
    const times = began.get(name)!.sort((a, b) => a - b);
    // A window of BullMQ's may begin with the last of one and end with the first of the next; and a timer may be early.
    for (let i = 0; i + 6 < times.length; i++) t.true(times[i + 6]! - times[i]! > 900, times.join());
  }
});
