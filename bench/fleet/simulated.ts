// npm run bench:fleet:simulated [-- seconds rounds]: how busy a queue keeps 1 to 256 workers that sleep as long as their parts would take, about so many seconds each, so many parts for each worker. What is
// measured is the queue and the worker's own code: all run on this machine. Writes docs/fleet-busy.svg.
import { setMaxListeners } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { doJob } from '../../lib/fleet/do-job';
import { Engine } from '../../lib/fleet/engine';
import { FleetWorker } from '../../lib/fleet/run-worker';
import { planRun, submitRun } from '../../lib/index';
import { Buffers } from '../../lib/native/buffers';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { keep } from '../document';
import { type Busy, plotBusy } from './plot-busy';
import { writeCheckpoint } from './checkpoints';
import { Server } from './programs';

const counts = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const [seconds = 2, partsOfWorker = 12] = process.argv.slice(2).map(Number);
const docs = join(__dirname, '..', '..', 'docs');

interface Slept {
  begin: number;
  end: number;
}

/** Part of the workers' time that they are asleep at work, from the first begun part to the last begun one. */
function shareOf(slept: readonly Slept[], workers: number): number {
  const [first, last] = [Math.min(...slept.map(({ begin }) => begin)), Math.max(...slept.map(({ begin }) => begin))]; // prettier-ignore
  const busy = slept.reduce((sum, { begin, end }) => sum + Math.max(0, Math.min(end, last) - begin), 0);
  return busy / (workers * (last - first));
}

async function busyOf(redis: string, plan: string, folder: string, workers: number): Promise<Busy> {
  const random = mulberry32(workers);
  const slept: Slept[] = [];
  const parts = workers * partsOfWorker;
  // As parts of fits are: of unequal length, half to one and a half of the mean.
  const times = Array.from({ length: parts }, () => 1000 * seconds * (0.5 + random()));
  const drain = new AbortController();
  setMaxListeners(0, drain.signal);
  const does: typeof doJob = async (_, piece) => {
    if (piece === 'finish') drain.abort();
    else {
      const begin = performance.now();
      await setTimeout(times[piece.index]);
      slept.push({ begin, end: performance.now() });
    }
    return { units: { done: 1, found: 0 }, bytes: 0, seconds: 0, warnings: [], layers: [] };
  };
  await submitRun(plan, { redis, parts });
  const means = { roots: [folder], memory: 2 ** 28, otherKernels: false, buffers: new Buffers() };
  const work = () =>
    Engine.with(redis, undefined, (engine) =>
      new FleetWorker(engine, ['vertexq'], means, { root: folder, drain: drain.signal }, does).run(),
    );
  const before = process.cpuUsage();
  await Promise.all(Array.from({ length: workers }, work));
  const { user, system } = process.cpuUsage(before);
  return { workers, parts, busy: shareOf(slept, workers), cpuSeconds: (user + system) / 1e6 };
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-fleet-'));
  const found: Busy[] = [];
  try {
    const [input, plan] = [join(folder, 'in'), join(folder, 'plan.json')];
    writeCheckpoint(input, 8, 0);
    writeFileSync(plan, JSON.stringify(await planRun(input, join(folder, 'out'), { groupSize: 128 })));
    console.log(
      `${cpus()[0]!.model}, ${availableParallelism()} cores; parts of ${seconds} s, ${partsOfWorker} a worker`,
    );
    for (const workers of counts) {
      const server = await Server.start(join(folder, `redis-${workers}`));
      try {
        const own = await busyOf(server.url, plan, folder, workers);
        found.push(own);
        console.log(`${workers} workers: ${(100 * own.busy).toFixed(1)} % busy, ${own.cpuSeconds.toFixed(1)} CPU s for ${own.parts} parts`); // prettier-ignore
      } finally {
        await server.stop();
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  await keep(join(docs, 'fleet.json'), 'busy', found);
  await plotBusy(join(docs, 'fleet-busy.svg'), found);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
