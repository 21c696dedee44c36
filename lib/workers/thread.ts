import { formatWithOptions } from 'node:util';
import { parentPort, workerData } from 'node:worker_threads';
import { type Answer, plainError, type Task } from './protocol';
import { type TaskName, tasks } from './tasks';

// The thread of an isolated task. Whatever input makes slow or large is here.

interface Start {
  task: TaskName;
  input: never;
  /** How often the unit has changed; the unit. */
  unit: Int32Array;
}

const { task, input, unit } = workerData as Start;
/** More differ by nothing that anyone reads. */
const maxWarnings = 20;
const longestWarning = 500;

const answer = (message: Answer) => parentPort?.postMessage(message);
const told = new Set<string>();

function warn(text: string): void {
  const short = text.slice(0, longestWarning);
  if (told.size === maxWarnings || told.has(short)) return;
  told.add(short);
  answer({ kind: 'warning', text: short });
}

// The console is the caller's: what libraries say there are warnings.
for (const name of ['log', 'info', 'warn', 'error', 'debug', 'trace'] as const)
  Object.defineProperty(globalThis.console, name, {
    value: (...values: unknown[]) =>
      warn(formatWithOptions({ breakLength: Infinity, maxStringLength: 100, maxArrayLength: 10 }, ...values)),
  });

function enter(now: readonly [number, number] | null): void {
  const [a, b] = now ?? [-1, -1];
  Atomics.store(unit, 1, a);
  Atomics.store(unit, 2, b);
  Atomics.add(unit, 0, 1);
}

async function main(): Promise<void> {
  try {
    const run: Task = tasks[task];
    const result = await run(input, { enter, warn, part: (part) => answer({ kind: 'part', part }) });
    answer({ kind: 'done', result });
  } catch (error) {
    answer({ kind: 'failed', error: plainError(error) });
  }
}

void main();
