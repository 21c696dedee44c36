import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { cp, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { CheckpointOptions } from '../../lib/index';

const root = join(__dirname, '..', '..');
const command = (input: string, output: string, options: CheckpointOptions): string[] => [
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
  fits: { name: string; seconds: number }[];
}

export function quantize(input: string, output: string, options: CheckpointOptions): Run {
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

/** The files of a folder that have their names, by their hashes. */
export function hashes(folder: string): Map<string, string> {
  const names = existsSync(folder) ? readdirSync(folder).filter((name) => !name.startsWith('.')) : [];
  return new Map(
    names.map((name) => [
      name,
      createHash('sha256')
        .update(readFileSync(join(folder, name)))
        .digest('hex'),
    ]),
  );
}

/**
 * Kills runs at random moments until `kills` have been, each going on from the one before; starts anew when one gets to its end. Returns how many
 * ended with what an undisturbed run wrote; throws where a file is under its name that is not whole.
 */
export async function killAndResume(
  input: string,
  output: string,
  options: CheckpointOptions,
  kills: number,
) {
  const whole = `${output}-whole`;
  const { seconds } = quantize(input, whole, options);
  const expected = hashes(whole);
  rmSync(output, { recursive: true, force: true });
  let [killed, completed] = [0, 0];
  while (killed < kills || completed === 0) {
    const run = spawn(process.execPath, command(input, output, { ...options, resume: true }), {
      ...{ cwd: root, stdio: ['ignore', 'pipe', 'pipe'] },
    });
    let ended = false;
    // From the moment it has begun to work; now and then earlier.
    const delay = Math.random() * seconds * 1000 * 0.7;
    const kill = () => killed < kills && setTimeout(() => run.kill('SIGKILL'), delay);
    if (Math.random() < 0.1) kill();
    else run.stderr.once('data', kill);
    run.stdout.on('data', () => (ended = true));
    await new Promise((resolve) => run.on('close', resolve));
    for (const [name, hash] of hashes(output))
      if (expected.get(name) !== hash) throw new Error(`${name} has its name and is not whole`);
    if (!ended) {
      killed++;
      continue;
    }
    if (hashes(output).size !== expected.size) throw new Error('a file is missing');
    completed++;
    rmSync(output, { recursive: true, force: true });
  }
  rmSync(whole, { recursive: true, force: true });
  return { killed, completed };
}
