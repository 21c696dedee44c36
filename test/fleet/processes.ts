import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import type { FleetEvent } from '../../lib/index';

const repository = join(__dirname, '..', '..');

/** A worker in a process of its own. */
export interface WorkerProcess {
  kill(signal: NodeJS.Signals): void;
  events: FleetEvent[];
  /** Resolves at the first event that fits, also one that has been told. */
  until(fits: (event: FleetEvent) => boolean): Promise<FleetEvent>;
  /** Resolves to the exit code, or the signal that ended it. */
  ended: Promise<number | string>;
}

export function startWorkerProcess(
  t: ExecutionContext,
  redis: string,
  root: string,
  { stalledAfter = 30, untilEmpty = false } = {},
): WorkerProcess {
  const args = ['--import=tsx', join(__dirname, 'children', 'worker.ts'), redis, root, String(stalledAfter)];
  const child = spawn(process.execPath, [...args, ...(untilEmpty ? ['empty'] : [])], { cwd: repository });
  t.teardown(() => child.kill('SIGKILL'));
  const events: FleetEvent[] = [];
  const waiting = new Set<() => void>();
  let errors = '';
  child.stderr.on('data', (bytes: Buffer) => (errors += bytes.toString()));
  createInterface(child.stdout).on('line', (line) => {
    events.push(JSON.parse(line) as FleetEvent);
    for (const look of waiting) look();
  });
  const ended = once(child, 'close').then(([code, signal]) => (signal ?? code) as number | string);
  const until = (fits: (event: FleetEvent) => boolean) =>
    new Promise<FleetEvent>((resolve, reject) => {
      const look = () => {
        const found = events.find(fits);
        if (!found) return;
        waiting.delete(look);
        resolve(found);
      };
      waiting.add(look);
      look();
      void ended.then(() => reject(new Error(`the worker has ended: ${errors}`)));
    });
  return { kill: (signal) => child.kill(signal), events, until, ended };
}
