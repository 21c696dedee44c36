// npm run bench:checkpoint [-- --gb n] [-- --kills n] [-- --folder path] [-- speed small resume fit]: checkpoints of any size, into
// docs/checkpoints.md with --write.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBytes, formatSeconds } from '../../lib/reports/units';
import { aligned, fillIn, markdownTable } from '../document';
import { compareWithEngine } from './gram';
import { makeCheckpoint, makeSmall, shapeFor } from './make';
import { killAndResume } from '../../scripts/kills/kill-and-resume';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { copyAndRead, quantize } from './measure';

const words = process.argv.slice(2);
const value = (flag: string, fallback: string) =>
  words.includes(flag) ? words[words.indexOf(flag) + 1]! : fallback;
const gigabytes = Number(value('--gb', '8'));
const kills = Number(value('--kills', '50'));
const stages = ['speed', 'small', 'resume', 'fit'].filter(
  (name, _, all) => words.includes(name) || !all.some((other) => words.includes(other)),
);
const settings = { bits: 4, groupSize: 128, method: 'msq' } as const;

async function speed(folder: string): Promise<string> {
  const input = join(folder, `in-${gigabytes}`);
  const output = join(folder, 'out');
  const shape = shapeFor(gigabytes * 1e9);
  if (!existsSync(input)) await makeCheckpoint(input, shape, 'BF16', Math.max(1e8, (gigabytes * 1e9) / 4));
  const { copy, read } = await copyAndRead(input, output);
  const lines = [['cp of the input, then reading the copy', '', formatSeconds(copy + read), '1', '', '']];
  const threads = [...new Set([2, 1, availableParallelism()])];
  const bytes = gigabytes * 1e9;
  for (const count of threads) {
    const run = quantize(input, output, { ...settings, threads: count });
    const ratio = (run.seconds / (copy + read)).toFixed(2);
    lines.push([
      `msq, 4 bits, groups of 128`,
      String(count),
      formatSeconds(run.seconds),
      ratio,
      `${formatBytes(bytes / run.seconds)}/s`,
      formatBytes(run.rss),
    ]);
    console.error(lines.at(-1)!.join('  '), `${run.cpu.toFixed(1)} s of cores`);
  }
  rmSync(output, { recursive: true });
  const head = [`${gigabytes} GB of BF16`, 'threads', 'time', 'of copying', 'input', 'peak memory'];
  return `${cpus()[0]!.model}, ${availableParallelism()} cores\n\n${markdownTable(head, lines)}`;
}

async function small(folder: string): Promise<string> {
  const count = 60_000;
  const lines: string[][] = [];
  for (const [what, name, shape] of [
    ['copied, [16]', 'norm.weight', [16]],
    ['quantized, [4, 4]', 'proj.weight', [4, 4]],
  ] as const) {
    const input = join(folder, `${name}.safetensors`);
    await makeSmall(input, name, count, [...shape]);
    const run = quantize(input, join(folder, 'small.safetensors'), { bits: 8 });
    lines.push([
      what,
      `${((1e6 * run.seconds) / count).toFixed(0)} µs`,
      `${((1e6 * run.cpu) / count).toFixed(0)} µs`,
      formatBytes((run.rss - run.rssBefore) / count),
      `${(1000 * run.delay).toFixed(0)} ms`,
    ]);
    console.error(lines.at(-1)!.join('  '));
    rmSync(input);
  }
  const head = [
    `of ${count} tensors of float32, each`,
    'time',
    'of cores',
    'peak memory',
    'longest wait of the event loop',
  ];
  return markdownTable(head, lines);
}

async function resume(folder: string): Promise<string> {
  const input = join(folder, 'resume-in');
  await makeCheckpoint(input, shapeFor(6e8), 'BF16', 2e8);
  const { load, work, write, completed } = await killAndResume(
    {
      ...{ name: 'checkpoint', input, folder: join(folder, 'resume-out') },
      options: { ...settings, threads: 2 },
    },
    kills,
    mulberry32(1),
  );
  return `${load + work + write} runs killed at random moments, ${completed} brought to their end by \`--resume\`: every time the bytes of an undisturbed run, and never a file under its name that was not whole.`;
}

async function fit(folder: string): Promise<string> {
  const lines = (await compareWithEngine(folder)).map(({ name, checkpoint, engine }) => [
    ...[name, formatSeconds(checkpoint), formatSeconds(engine), (checkpoint / engine).toFixed(2)],
  ]);
  return markdownTable(
    ['`vertex`, 8 passes, 4 bits, groups of 128', 'in a checkpoint', '`quantizeLayer`', 'ratio'],
    lines,
  );
}

const makers: Record<string, (folder: string) => Promise<string>> = { speed, small, resume, fit };

async function main(): Promise<void> {
  const folder = words.includes('--folder')
    ? value('--folder', '')
    : mkdtempSync(join(tmpdir(), 'vertexq-checkpoint-'));
  try {
    for (const stage of stages) {
      const text = await aligned(await makers[stage]!(folder));
      console.log(`\n${text}`);
      if (words.includes('--write'))
        fillIn(join(__dirname, '..', '..', 'docs', 'checkpoints.md'), stage, text);
    }
  } finally {
    // A folder that was given is its owner's, and what is made in it may serve again.
    if (!words.includes('--folder')) rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
