// npm run bench:depth [-- --hidden n] [-- --intermediate n] [-- --blocks 4,16] [-- --tokens n] [-- --length n] [-- --threads 1,2] [-- --options json]
// [-- --folder path]: Llama-shaped checkpoints of random weights, quantized with random tokens: time outside the fits beside its flops, peak
// memory by depth, and how long the event loop stood still. What is made in a folder that was given stays there.
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { CheckpointOptions } from '../../lib/index';
import { timeProduct } from '../../lib/models/forward/trial';
import { writeSafetensors } from '../../test/containers/safetensors/write';
import { mulberry32 } from '../../scripts/models/trainer/random';
import { makeCheckpoint, type Shape } from '../checkpoint/make';
import { quantize } from '../checkpoint/measure';
import { aligned, markdownTable } from '../document';

const words = process.argv.slice(2);
const given = (name: string, fallback: string) =>
  words.includes(name) ? words[words.indexOf(name) + 1]! : fallback;
const numbers = (name: string, fallback: string) => given(name, fallback).split(',').map(Number);
const number = (name: string, fallback: number) => numbers(name, String(fallback))[0]!;

const hidden = number('--hidden', 576);
const intermediate = number('--intermediate', Math.round((hidden * 8) / 3));
const tokens = number('--tokens', 4096);
const length = Math.min(tokens, number('--length', 512));
const vocabulary = 4096;
const options: CheckpointOptions = {
  ...{ bits: 3, groupSize: 64, method: 'gptq' },
  ...(JSON.parse(given('--options', '{}')) as CheckpointOptions),
};

async function writeTokens(path: string): Promise<void> {
  const random = mulberry32(1);
  const shape = [Math.floor(tokens / length), length];
  const ids = BigInt64Array.from({ length: shape[0]! * length }, () =>
    BigInt(Math.floor(random() * vocabulary)),
  );
  const spec = { name: 'input_ids', dtype: 'I64', shape };
  await writeSafetensors(path, [spec], () => new Uint8Array(ids.buffer));
}

/** Multiplications and additions besides the fits: both networks, and three matrices of products, two of which are symmetric. */
function flopsOutside(blocks: number): number {
  const weights = 4 * hidden * hidden + 3 * hidden * intermediate;
  const scores = 2 * length * hidden;
  const grams = 2 * (3 * hidden ** 2 + intermediate ** 2);
  return 2 * tokens * blocks * (2 * (weights + scores) + grams);
}

async function main(): Promise<void> {
  const own = words.includes('--folder');
  const folder = own ? given('--folder', '') : mkdtempSync(join(tmpdir(), 'vertexq-depth-'));
  const head = [
    'blocks',
    'threads',
    'seconds',
    'of fits',
    'CPU',
    'outside, of its flops',
    'peak, MiB',
    'event loop, ms',
    'of its own, ms',
  ];
  const lines: string[][] = [];
  try {
    const calibration = join(folder, `tokens-${tokens}-${length}.safetensors`);
    for (const blocks of numbers('--blocks', '4,16')) {
      const input = join(folder, `llama-${hidden}-${intermediate}-${blocks}`);
      const shape: Shape = { ...{ hidden, intermediate, layers: blocks, vocabulary }, giant: null };
      if (!existsSync(input)) await makeCheckpoint(input, shape, 'BF16', 1e9);
      await writeTokens(calibration);
      for (const threads of numbers('--threads', '2')) {
        const perFlop = (await timeProduct()) / 2;
        const output = join(folder, `out-${blocks}`);
        const run = quantize(input, output, { ...options, calibration, threads });
        const fits = run.fits.reduce((sum, { seconds }) => sum + seconds, 0);
        lines.push([
          ...[String(blocks), String(threads), run.seconds.toFixed(1), fits.toFixed(1), run.cpu.toFixed(1)],
          ((run.seconds - fits) / (flopsOutside(blocks) * perFlop)).toFixed(2),
          ...[(run.rss / 2 ** 20).toFixed(0), (1000 * run.delay).toFixed(0), (1000 * run.busy).toFixed(0)],
        ]);
        console.error(lines.at(-1)!.join('  '), `${(1e-9 / perFlop).toFixed(0)} GF/s`);
      }
    }
    console.log(await aligned(markdownTable(head, lines)));
  } finally {
    if (!own) rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
