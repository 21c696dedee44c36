import test from 'ava';
import { setTimeout } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type FleetEvent, submitRun } from '../../lib/index';
import { plannedModel } from '../checkpoints/sharded/folders';
import { runWhole } from '../cli/library';
import { freePort, startRedis } from './redis';

test('worker --events and --metrics: a line of JSON for all that happens, and what Prometheus reads', async (t) => {
  const { url } = await startRedis(t);
  const { folder, file } = await plannedModel(t);
  await submitRun(file, { redis: url, parts: 3 });
  const events = join(folder, 'events.jsonl');
  const port = await freePort();
  let metrics = '';
  const stopped = new AbortController();
  const scrape = async () => {
    for (; !/outcome="done"\} 4/.test(metrics) && !stopped.signal.aborted; await setTimeout(20))
      metrics = await fetch(`http://127.0.0.1:${port}/metrics`)
        .then((answer) => answer.text())
        .catch(() => metrics);
  };
  const scraping = scrape();
  const args = ['worker', '--redis', url, '--root', folder, '--until-empty', '--events', events];
  const { code, stderr } = await runWhole([...args, '--metrics', String(port)]);
  stopped.abort();
  await scraping;
  t.is(code, 0, stderr);
  t.regex(stderr, new RegExp(`^metrics: http://127\\.0\\.0\\.1:${port}/metrics\n`));
  const lines = readFileSync(events, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as FleetEvent); // prettier-ignore
  t.is(lines[0]!.event, 'worker-started');
  t.is(lines.at(-1)!.event, 'worker-ended');
  t.is(lines.filter(({ event }) => event === 'job-done').length, 4);
  t.regex(metrics, /^vertexq_jobs_total\{queue="vertexq",outcome="done"\} [1-4]$/m);
  t.regex(metrics, /^vertexq_units_total \d+$/m);
  for (const [more, message] of [
    [['--metrics', '70000'], /Expected a port/],
    [['--events', '-', '--json'], /would both write to stdout/],
  ] as const)
    t.like(await runWhole([...args.slice(0, 6), ...more]).then(({ code: own, stderr: told }) => ({ code: own, fits: message.test(told) })), { code: 2, fits: true }); // prettier-ignore
});
