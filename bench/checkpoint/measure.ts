import { spawnSync } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { cp, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckpointOptions, ModelOptions } from '../../lib/index';

type Options = CheckpointOptions | ModelOptions;

const root = join(__dirname, '..', '..');
const command = (input: string, output: string, options: Options): string[] => [
  ...['--import=tsx', join(__dirname, 'run.ts'), input, output, JSON.stringify(options)],
];

/** A run in a process of its own. */
export interface Run {
  seconds: number;
  /** Seconds of all cores. */
  cpu: number;
  /** Peak, bytes. */
  rss: number;
  /** When it began. */
  rssBefore: number;
  /** Longest time for which the event loop stood still, seconds. */
  delay: number;
  /** Longest time on a core that the main thread took between two of its turns, seconds. */
  busy: number;
  fits: { name: string; seconds: number }[];
}

export function quantize(input: string, output: string, options: Options): Run {
  rmSync(output, { recursive: true, force: true });
  const { stdout, stderr, status } = spawnSync(process.execPath, command(input, output, options), {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 28,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Run;
}

/** Seconds of copying a folder with cp, and of reading the copy. */
export async function copyAndRead(input: string, output: string): Promise<{ copy: number; read: number }> {
  rmSync(output, { recursive: true, force: true });
  const started = performance.now();
  if (spawnSync('cp', ['-r', input, output]).status !== 0) await cp(input, output, { recursive: true });
  const copied = performance.now();
  const buffer = new Uint8Array(2 ** 22);
  for (const name of readdirSync(output)) {
    const file = await open(join(output, name));
    while ((await file.read(buffer)).bytesRead > 0);
    await file.close();
  }
  return { copy: (copied - started) / 1000, read: (performance.now() - copied) / 1000 };
}
