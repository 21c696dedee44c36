// npm run bench:fleet:scaling [-- gigabytes rounds]: one checkpoint by "vertexq work" and "finish" without a queue, and through a queue by 1, 2 and 4 workers of one thread each, in turns in one run. Prints
// what the queue takes besides, and what more workers save; fails where an output differs.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout } from 'node:timers/promises';
import { planRun, runStatus, submitRun } from '../../lib/index';
import { makeCheckpoint, shapeFor } from '../checkpoint/make';
import { program, Server, WorkerProgram } from './programs';

const counts = [1, 2, 4];
const [gigabytes = 8, rounds = 3] = process.argv.slice(2).map(Number);
/** Seconds that workers may be silent. */
const silence = 30;

async function digest(folder: string): Promise<string> {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort()) {
    hash.update(name);
    await pipeline(createReadStream(join(folder, name)), hash, { end: false });
  }
  return hash.digest('hex');
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** Seconds without a queue, by one thread. */
function withoutQueue(plan: string): number {
  const started = performance.now();
  for (const command of ['work', 'finish'])
    execFileSync(process.execPath, [program, command, plan, '--threads', '1', '--quiet'], {
      stdio: 'ignore',
    });
  return (performance.now() - started) / 1000;
}

/** Seconds from the start of so many workers until the output is there. */
async function throughQueue(
  server: Server,
  plan: string,
  output: string,
  folder: string,
  count: number,
): Promise<number> {
  await submitRun(plan, { redis: server.url });
  const workers: WorkerProgram[] = [];
  const started = performance.now();
  try {
    for (let i = 0; i < count; i++)
      workers.push(WorkerProgram.start(server.url, folder, join(folder, `worker-${i}`), silence));
    for (let looks = 1; !existsSync(output); looks++) {
      await setTimeout(20);
      // Asking takes time of the cores too.
      if (looks % 500 !== 0) continue;
      const { state, error } = (await runStatus({ redis: server.url })).queues[0]!.runs[0]!;
      if (state === 'failed' || state === 'lost') throw new Error(`${state}: ${error}`);
    }
    const seconds = (performance.now() - started) / 1000;
    while ((await runStatus({ redis: server.url })).queues[0]!.runs[0]!.state !== 'done')
      await setTimeout(100);
    return seconds;
  } finally {
    await Promise.all(workers.map((worker) => worker.kill()));
  }
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-fleet-'));
  const server = await Server.start(join(folder, 'redis'));
  try {
    const [input, output, plan] = ['in', 'out', 'plan.json'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
    await makeCheckpoint(input, shapeFor(gigabytes * 1e9), 'BF16', Math.max(1e8, (gigabytes * 1e9) / 4));
    const planned = await planRun(input, output, { bits: 4, groupSize: 128, method: 'msq' });
    writeFileSync(plan, JSON.stringify(planned));
    console.log(
      `${cpus()[0]!.model}, ${availableParallelism()} cores; ${gigabytes} GB of BF16, msq, 4 bits, groups of 128, a thread a worker`,
    );
    const seconds = new Map<number, number[]>([0, ...counts].map((count) => [count, []]));
    let expected = '';
    for (let round = 0; round < rounds; round++)
      for (const [count, own] of seconds) {
        own.push(count === 0 ? withoutQueue(plan) : await throughQueue(server, plan, output, folder, count));
        const found = await digest(output);
        if (expected !== '' && found !== expected) throw new Error(`${count} workers: the output differs`);
        expected = found;
        rmSync(output, { recursive: true });
        console.log(`${count === 0 ? 'without a queue' : `${count} workers`}: ${own.at(-1)!.toFixed(1)} s`);
      }
    const of = (count: number) => median(seconds.get(count)!);
    console.log(
      `the queue takes ${(100 * (of(1) / of(0) - 1)).toFixed(1)} % (asked: at most 3), two workers ${(of(2) / of(1)).toFixed(2)} of one's time (asked: at most 0.6), four ${(of(4) / of(1)).toFixed(2)}; the same bytes each time`,
    );
  } finally {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
