// npm run bench:fleet [-- checkpoints megabytes seconds]: so many checkpoints through a queue by eight workers, two of which are killed −9 every so many seconds while
// one is stopped and goes on; Redis is killed once and started again. Prints what happened; fails unless every output is there, once, with the bytes of one process.
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { planRun, quantizeCheckpoint, runStatus, submitRun } from '../../lib/index';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { writeCheckpoint } from './checkpoints';
import { Server, WorkerProgram } from './programs';

const workerCount = 8;
const partsOfRun = 2;
/** Seconds: longer than workers may be silent. */
const [silence, stopped] = [10, 15];
const options = { groupSize: 128 };

/** All that is in a folder. */
function digest(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort())
    hash.update(`${name}\n`).update(readFileSync(join(folder, name)));
  return hash.digest('hex');
}

async function prepare(folder: string, count: number, megabytes: number) {
  const expected: string[] = [];
  const plans: string[] = [];
  for (let i = 0; i < count; i++) {
    const [input, whole] = [join(folder, `in-${i}`), join(folder, 'whole')];
    writeCheckpoint(input, megabytes, i);
    await quantizeCheckpoint(input, whole, options);
    expected.push(digest(whole));
    rmSync(whole, { recursive: true });
    const plan = join(folder, `plan-${i}.json`);
    writeFileSync(plan, JSON.stringify(await planRun(input, join(folder, `out-${i}`), options)));
    plans.push(plan);
  }
  return { expected, plans };
}

async function main(): Promise<void> {
  const [count = 40, megabytes = 20, every = 20] = process.argv.slice(2).map(Number);
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-fleet-'));
  const random = mulberry32(Number(process.env['VERTEXQ_SEED'] ?? 1));
  const server = await Server.start(join(folder, 'redis'));
  const workers: WorkerProgram[] = [];
  const told = { killed: 0, killedAtWork: 0, stopped: 0, restarts: 0 };
  try {
    const { expected, plans } = await prepare(folder, count, megabytes);
    for (const plan of plans) await submitRun(plan, { redis: server.url, parts: partsOfRun });
    const open = (i: number) => WorkerProgram.start(server.url, folder, join(folder, `worker-${i}`), silence);
    for (let i = 0; i < workerCount; i++) workers.push(open(i));
    const started = performance.now();
    let next = performance.now() + 1000 * every;
    for (;;) {
      await setTimeout(1000);
      const status = await runStatus({ redis: server.url }).catch(() => undefined);
      const runs = status?.queues[0]!.runs ?? [];
      const done = runs.filter(({ state }) => state === 'done').length;
      const failed = runs.filter(({ state }) => state === 'failed' || state === 'lost');
      if (failed.length > 0) throw new Error(JSON.stringify(failed, null, 2));
      if (done === count) break;
      if (told.restarts === 0 && done >= count / 2) {
        await server.restart();
        told.restarts++;
      }
      if (performance.now() < next) continue;
      next = performance.now() + 1000 * every;
      const first = Math.floor(random() * workerCount);
      for (const i of [first, (first + 1 + Math.floor(random() * (workerCount - 2))) % workerCount]) {
        told.killedAtWork += workers[i]!.isAtWork ? 1 : 0;
        told.killed++;
        await workers[i]!.kill();
        workers[i] = open(i);
      }
      const other = workers[(first + workerCount - 1) % workerCount]!;
      told.stopped++;
      void other.pause(1000 * stopped);
      console.log(`${done} of ${count} done, ${JSON.stringify(told)}`);
    }
    const seconds = (performance.now() - started) / 1000;
    const stalls = workers.reduce((sum, { stalled }) => sum + stalled, 0);
    for (const worker of workers) worker.end();
    for (const [i, hash] of expected.entries())
      if (digest(join(folder, `out-${i}`)) !== hash)
        throw new Error(`out-${i} is not what one process writes`);
    const left = readdirSync(folder).filter((name) => name.startsWith('.'));
    if (left.length > 0) throw new Error(`left behind: ${left.join()}`);
    const bytes = statSync(join(folder, 'in-0', 'model.safetensors')).size;
    console.log(
      JSON.stringify({
        count,
        bytes,
        workerCount,
        every,
        ...told,
        stalls,
        seconds,
        cores: availableParallelism(),
      }),
    );
    console.log('all outputs are there, once, with the bytes of one process');
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
