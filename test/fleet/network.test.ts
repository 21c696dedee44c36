import test from 'ava';
import { setTimeout } from 'node:timers/promises';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetEvent, quantizeCheckpoint, runStatus, runWorker, submitRun } from '../../lib/index';
import { contents, plannedModel } from '../checkpoints/sharded/folders';
import { startWorkerProcess } from './processes';
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

for (const trouble of ['is gone', 'accepts connections and ends them'] as const)
  test(`workers that are told to end while Redis ${trouble} end within seconds, whatever their connections are at`, async (t) => {
    const server = await startRedis(t);
    const proxy = await startProxy(t, server.port);
    const { folder } = await plannedModel(t);
    const url = trouble === 'is gone' ? server.url : proxy.url;
    const workers = [0, 1, 2, 3].map(() => startWorkerProcess(t, url, folder, { stalledAfter: 1 }));
    for (const worker of workers) await worker.until(({ event }) => event === 'worker-started');
    if (trouble === 'is gone') await server.kill();
    else {
      proxy.refuses = true;
      proxy.cut();
    }
    for (const worker of workers) {
      await setTimeout(170);
      worker.kill('SIGTERM');
    }
    // Timers of commands that failed keep the process itself for up to 20 seconds more.
    const isReport = ({ event }: { event: string }) => event === 'report';
    const late = setTimeout(30_000, 'late');
    t.not(await Promise.race([Promise.all(workers.map((worker) => worker.until(isReport))), late]), 'late');
  });
