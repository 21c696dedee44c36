// npx tsx bench/gguf/speed.ts [--gb n] [--folder path] [mix …]: how long a GGUF file of float16 takes, beside copying it and reading the copy.
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { GgufLayout } from '../../lib/containers/gguf/layout';
import { keyBytes } from '../../lib/containers/gguf/values';
import type { CheckpointFormat } from '../../lib';
import { formatBytes, formatSeconds } from '../../lib/reports/units';
import { normals, repeated } from '../checkpoint/make';
import { copyAndRead, quantize } from '../checkpoint/measure';
import { aligned, markdownTable } from '../document';

const words = process.argv.slice(2);
const value = (flag: string, fallback: string) =>
  words.includes(flag) ? words.splice(words.indexOf(flag), 2)[1]! : fallback;
const gigabytes = Number(value('--gb', '4'));
const given = value('--folder', '');
const mixes = (words.length > 0 ? words : ['q4_0']).map((mix) => `gguf:${mix}` as CheckpointFormat);

/** A file of matrices of random numbers and nothing else. */
async function makeFile(path: string, bytes: number): Promise<void> {
  const shape = [4096, 8192];
  const length = 2 * shape[0]! * shape[1]!;
  const layout = new GgufLayout();
  const places = Array.from({ length: Math.max(1, Math.round(bytes / length)) }, (_, i) =>
    layout.place(`blk.${i}.ffn_up.weight`, 'F16', shape, length),
  );
  const head = Buffer.concat(
    layout.head([keyBytes('general.architecture', { type: 'text', value: 'bench' })]),
  );
  const source = normals('F16');
  const file = await open(path, 'w');
  await file.write(head, 0, head.length, 0);
  for (const place of places) await file.write(repeated(source, length), 0, length, head.length + place);
  await file.close();
}

async function main(): Promise<void> {
  const folder = given || mkdtempSync(join(tmpdir(), 'vertexq-gguf-'));
  try {
    const source = join(folder, `in-${gigabytes}`);
    mkdirSync(source, { recursive: true });
    const input = join(source, 'in.gguf');
    if (!existsSync(input)) await makeFile(input, gigabytes * 1e9);
    const { copy, read } = await copyAndRead(source, join(folder, 'copy'));
    rmSync(join(folder, 'copy'), { recursive: true });
    const lines = [['cp, then reading the copy', '', formatSeconds(copy + read), '1', '', '']];
    for (const mix of mixes)
      for (const threads of new Set([availableParallelism(), 1])) {
        const { seconds, cpu, rss } = quantize(input, join(folder, 'out.gguf'), { format: mix, threads });
        const ratio = (seconds / (copy + read)).toFixed(2);
        lines.push([
          mix,
          String(threads),
          formatSeconds(seconds),
          ratio,
          formatSeconds(cpu),
          formatBytes(rss),
        ]);
        console.error(lines.at(-1)!.join('  '));
      }
    const head = [`${gigabytes} GB of float16`, 'threads', 'time', 'of copying', 'of cores', 'peak memory'];
    console.log(
      `${cpus()[0]!.model}, ${availableParallelism()} cores\n\n${await aligned(markdownTable(head, lines))}`,
    );
  } finally {
    if (!given) rmSync(folder, { recursive: true, force: true });
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
