import test from 'ava';
import { setTimeout } from 'node:timers/promises';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetEvent, quantizeCheckpoint, runStatus, runWorker, submitRun } from '../../lib/index';
import { contents, plannedModel } from '../checkpoints/sharded/folders';
import { startProxy } from './proxy';
import { startRedis } from './redis';

test('connections that are cut, slow and refused while workers work: every run is done, with the bytes of one process', async (t) => {
  const server = await startRedis(t);
  const proxy = await startProxy(t, server.port);
  const { folder, input, output, file } = await plannedModel(t);
  mkdirSync(join(folder, 'whole'));
  await quantizeCheckpoint(input, join(folder, 'whole', 'out'), { groupSize: 32 });
  await submitRun(file, { redis: proxy.url, parts: 8 });
  let faults = 0;
  const ended = new AbortController();
  const break_ = async () => {
    for (; !ended.signal.aborted; faults++) {
      await setTimeout(100, undefined, { signal: ended.signal }).catch(() => {});
      proxy.refuses = faults % 4 === 1;
      proxy.delay = faults % 4 === 2 ? 50 : 0;
      if (faults % 4 !== 3 && faults < 40) proxy.cut();
    }
  };
  let breaking: Promise<void> | undefined;
  const onEvent = ({ event }: FleetEvent) => {
    if (event === 'job-started') breaking ??= break_();
  };
  const report = await runWorker({
    redis: proxy.url,
    root: folder,
    untilEmpty: true,
    stalledAfter: 2,
    onEvent,
  });
  ended.abort();
  await breaking;
  proxy.refuses = false;
  t.true(report.jobs.done >= 1 && faults > 3, JSON.stringify([report, faults]));
  t.deepEqual(contents(output), contents(join(folder, 'whole', 'out')));
  t.like((await runStatus({ redis: server.url })).queues[0]!.runs[0], { state: 'done' });
});

test('a Redis that has no memory left: submit says so, and what it had begun is there whole or not at all', async (t) => {
  const server = await startRedis(t);
  const { url: redis } = server;
  const { folder, file } = await plannedModel(t);
  const client = server.client();
  await client.config('SET', 'maxmemory', '1');
  await t.throwsAsync(submitRun(file, { redis, parts: 4 }), { code: 'ERR_VERTEXQ_QUEUE', message: /OOM/ });
  await client.config('SET', 'maxmemory', '0');
  t.like((await runStatus({ redis })).queues[0]!.jobs, { waiting: 0, active: 0 });
  t.false((await submitRun(file, { redis, parts: 4 })).found);
  // Full while a worker works: it waits, and goes on.
  let full: Promise<unknown> | undefined;
  const onEvent = ({ event }: FleetEvent) => {
    if (event !== 'job-done' || full) return;
    full = client
      .config('SET', 'maxmemory', '1')
      .then(() => setTimeout(1500))
      .then(() => client.config('SET', 'maxmemory', '0'));
  };
  await runWorker({ redis, root: folder, untilEmpty: true, stalledAfter: 1, onEvent });
  await full;
  t.like((await runStatus({ redis })).queues[0]!.runs[0], { state: 'done' });
});
