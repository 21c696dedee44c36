// npm run bench:fleet:calibrated [-- --blocks n] [-- --tokens n] [-- --parts n] [-- --rounds n] [-- --kills n] [-- --outputs]: a Llama-shaped checkpoint of random weights, fitted to random tokens by "vertexq quantize", and by one
// worker and several on a plan of as many parts, each on a core of its own. Prints what parts cost and what more workers save, and then kills workers −9 at random moments and starts them again; fails where an output differs.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type CheckpointOptions, planRun } from '../../lib/index';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { writeSafetensors } from '../../test/containers/safetensors/write';
import { makeCheckpoint } from '../checkpoint/make';
import { program } from './programs';

const words = process.argv.slice(2);
const number = (name: string, fallback: number) =>
  words.includes(name) ? Number(words[words.indexOf(name) + 1]) : fallback;
const [blocks, tokens, parts] = [number('--blocks', 6), number('--tokens', 16_384), number('--parts', 2)];
const [rounds, kills] = [number('--rounds', 3), number('--kills', 0)];
/** `--outputs`: rows weighted by the network's outputs. */
const weighting = words.includes('--outputs') ? 'outputs' : 'none';
const shape = { hidden: 576, intermediate: 1536, layers: blocks, vocabulary: 4096 };
const length = 512;

const random = mulberry32(1);

/** On a core of its own: what a worker of another machine would have. */
const started = (core: number, ...args: string[]): ChildProcess =>
  spawn('taskset', ['-c', String(core % cpus().length), process.execPath, program, ...args], {
    stdio: 'ignore',
  });

async function ended(child: ChildProcess): Promise<void> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  if (code !== 0 && signal !== 'SIGKILL') throw new Error(`${child.spawnargs.join(' ')}: exit code ${code}`);
}

const run = (core: number, ...args: string[]) => ended(started(core, ...args));

function digest(folder: string): string {
  const hash = createHash('sha256');
  for (const name of readdirSync(folder).sort()) hash.update(name).update(readFileSync(join(folder, name)));
  return hash.digest('hex');
}

const median = (values: readonly number[]) =>
  [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

async function writeTokens(path: string): Promise<void> {
  const count = Math.floor(tokens / length);
  const ids = BigInt64Array.from({ length: count * length }, () =>
    BigInt(Math.floor(random() * shape.vocabulary)),
  );
  const spec = { name: 'input_ids', dtype: 'I64', shape: [count, length] };
  await writeSafetensors(path, [spec], () => new Uint8Array(ids.buffer));
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-calibrated-'));
  const [input, output, plan, calibration] = ['in', 'out', 'plan.json', 'tokens.safetensors'].map((name) => join(folder, name)) as [string, string, string, string]; // prettier-ignore
  try {
    await makeCheckpoint(input, { ...shape, giant: null }, 'BF16', 1e9);
    await writeTokens(calibration);
    const options: CheckpointOptions = {
      ...{ bits: 4, groupSize: 64, method: 'gptq', weighting, batchSize: 2, calibration },
    };
    console.log(
      `${cpus()[0]!.model}, ${availableParallelism()} cores; ${blocks} blocks of ${shape.hidden}, ${tokens} tokens, gptq, 4 bits; a core for each worker`,
    );
    const given = [
      '--bits',
      '4',
      '--group-size',
      '64',
      '--method',
      'gptq',
      '--batch-size',
      '2',
      '--weighting',
      weighting,
    ];
    const quantize = (count: number) => [
      ...['quantize', input, '-o', output, '--calibration', calibration, ...given],
      ...['--parts', String(count), '--threads', '1', '--quiet', '--overwrite'],
    ];
    let expected = '';
    const compare = (what: string) => {
      const found = digest(output);
      if (expected !== '' && found !== expected) throw new Error(`${what}: the output differs`);
      expected = found;
      rmSync(output, { recursive: true });
    };
    const seconds: Record<string, number[]> = {};
    const time = async (what: string, work: () => Promise<void>) => {
      const begun = performance.now();
      await work();
      (seconds[what] ??= []).push((performance.now() - begun) / 1000);
      console.log(`${what}: ${seconds[what].at(-1)!.toFixed(1)} s`);
    };
    const work = (shard: number, count: number) =>
      started(shard, 'work', plan, '--shard', `${shard}/${count}`, '--threads', '1', '--quiet');
    const planned = await planRun(input, output, { ...options, parts });
    writeFileSync(plan, JSON.stringify(planned));
    for (let round = 0; round < rounds; round++) {
      await time('one process, one part', () => run(0, ...quantize(1)));
      rmSync(output, { recursive: true });
      await time(`one process, ${parts} parts`, () => run(0, ...quantize(parts)));
      compare('one process');
      for (const count of new Set([1, parts])) {
        await time(`${count} worker${count > 1 ? 's' : ''}`, async () => {
          await Promise.all(Array.from({ length: count }, (_, shard) => ended(work(shard, count))));
          await run(0, 'finish', plan, '--threads', '1', '--quiet');
        });
        compare(`${count} workers`);
      }
    }
    const of = (what: string) => median(seconds[what] ?? [NaN]);
    if (rounds > 0)
      console.log(
        `parts take ${(100 * (of(`one process, ${parts} parts`) / of('one process, one part') - 1)).toFixed(1)} % more, a plan ${(100 * (of('1 worker') / of(`one process, ${parts} parts`) - 1)).toFixed(1)} %; ${parts} workers ${(of(`${parts} workers`) / of('1 worker')).toFixed(2)} of one's time; the same bytes each time`,
      );
    await withKills(work, () => run(0, 'finish', plan, '--quiet'), compare, of(`${parts} workers`) || 10);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Workers that are killed and started again, until as many as were asked for are. */
async function withKills(
  work: (shard: number, count: number) => ChildProcess,
  finish: () => Promise<void>,
  compare: (what: string) => void,
  usual: number,
): Promise<void> {
  let killed = 0;
  let runs = 0;
  while (killed < kills) {
    const worker = async (shard: number) => {
      for (;;) {
        const child = work(shard, parts);
        const end = ended(child);
        const isDone = await Promise.race([
          end.then(() => child.exitCode === 0),
          setTimeout(1000 * usual * (0.1 + 1.2 * random()), null),
        ]);
        if (isDone) return;
        if (isDone === null && child.exitCode === null && killed < kills) {
          child.kill('SIGKILL');
          killed++;
          await end;
        } else if (isDone === null) return end;
      }
    };
    await Promise.all(Array.from({ length: parts }, (_, shard) => worker(shard)));
    await finish();
    compare('with kills');
    runs++;
  }
  if (kills > 0) console.log(`${killed} kills −9 of workers in ${runs} runs: the same bytes each time`);
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
