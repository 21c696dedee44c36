import { type ChildProcess, fork } from 'node:child_process';
import { join } from 'node:path';
import { VertexqError } from '../errors';
import { compiling } from './compiling';
import { type Answer, errorOf, type Job, type Unit } from './protocol';
import { requirePulse } from './pulse';
import type { TaskName } from './tasks';

export type { Unit } from './protocol';

/** How a task is run, and what is said where it does not end well. */
export interface IsolatedOptions {
  /** Ends the task at once, whatever it is stuck in. */
  signal?: AbortSignal | undefined;
  /** Called with each part of the result, in order. What it throws ends the task. */
  onPart?: (part: never) => void;
  onWarning?: (text: string) => void;
  /** How long a unit of the work may take. */
  seconds: number;
  /** How much memory the task's heap may take at most, in MiB; less where there is less. */
  heap: number;
  /** What a unit is, at the beginning of a message: `texts.txt, line 3`. */
  nameOf: (unit: Unit) => string;
  /** What works at it, and what to do: `the tokenizer t.json`, `shorten the line`. */
  what: string | ((unit: Unit | null) => string);
  wayOut: string;
}

/** How V8 may end where there is less memory than it may take. */
const crashes = new Set<NodeJS.Signals | null>(['SIGABRT', 'SIGBUS', 'SIGILL', 'SIGSEGV', 'SIGTRAP']);

/** How much of what a process says at its end is kept. */
const keptText = 4096;

/**
 * Runs one of `tasks` in a process of its own and resolves to its result: the main thread stays free however slow the input makes
 * the task, an abort ends it at once, and where it runs out of memory only that process ends (V8 aborts a whole process for arrays
 * and strings that a worker thread's heap has no room for).
 *
 * Rejects with what the task or `onPart` throws, ERR_VERTEXQ_TIME where a unit takes longer than it may, ERR_VERTEXQ_MEMORY where
 * the task takes more memory, ERR_VERTEXQ_WORKER where the process cannot be started; with the signal's reason when aborted.
 */
export async function isolated(name: TaskName, input: unknown, given: IsolatedOptions): Promise<unknown> {
  const { signal, seconds, heap } = given;
  signal?.throwIfAborted();
  const child = start();
  let onAbort: (() => void) | undefined;
  try {
    return await new Promise((resolve, reject) => {
      onAbort = () => reject(signal?.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      listen(child, given, resolve, reject);
      child.send({ task: name, input, seconds, heap } satisfies Job, (error) => {
        if (error) reject(cannotRun(error));
      });
    });
  } finally {
    if (onAbort) signal?.removeEventListener('abort', onAbort);
    child.removeAllListeners('message');
    child.kill('SIGKILL');
  }
}

function start(): ChildProcess {
  const extension = __filename.slice(-3);
  try {
    return fork(join(__dirname, `supervisor${extension}`), [], {
      // Not the caller's own flags, which may be a debugger's. From sources: what compiles them.
      execArgv: extension === '.ts' ? [compiling] : [],
      serialization: 'advanced',
      // A group of its own: a terminal's signals are for the caller, who ends it.
      detached: process.platform !== 'win32',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
  } catch (cause) {
    throw cannotRun(cause);
  }
}

function listen(
  child: ChildProcess,
  { onPart, onWarning, nameOf, seconds, heap: most, what, wayOut }: IsolatedOptions,
  resolve: (result: unknown) => void,
  reject: (error: unknown) => void,
): void {
  let at: Unit | null = null;
  let heap = most;
  let said = '';
  child.stderr?.on('data', (text: Buffer) => (said = (said + text.toString()).slice(-keptText)));
  const worker = (unit: Unit | null) => (typeof what === 'string' ? what : what(unit));
  const full = () =>
    new VertexqError(
      'ERR_VERTEXQ_MEMORY',
      `${at === null ? '' : `${nameOf(at)}: `}${worker(at)} takes more than ${heap} MiB of memory: ${wayOut}`,
    );
  const take = (answer: Answer) => {
    switch (answer.kind) {
      case 'heap':
        return void (heap = answer.heap);
      case 'alive':
        return;
      case 'part':
        return onPart?.(answer.part as never);
      case 'warning':
        return onWarning?.(answer.text);
      case 'at':
        return void (at = answer.unit);
      case 'done':
        return resolve(answer.result);
      case 'failed':
        return reject(errorOf(answer.error));
      case 'full':
        return reject(full());
      case 'slow':
        return reject(
          new VertexqError(
            'ERR_VERTEXQ_TIME',
            `${nameOf(answer.unit)}: ${worker(answer.unit)} takes longer than ${seconds} seconds: ${wayOut}`,
          ),
        );
    }
  };
  const heard = requirePulse(child, () => reject(full()));
  child.on('message', (answer: Answer) => {
    heard();
    try {
      take(answer);
    } catch (error) {
      reject(error);
    }
  });
  child.on('error', (cause) => reject(cannotRun(cause)));
  // 'close' comes after all that was said. V8 aborts where it has no memory, C++ code too; SIGKILL is how a system ends who takes too much.
  child.on('close', (code, ended) =>
    reject(
      ended === 'SIGKILL' ||
        (crashes.has(ended) && heap < most) ||
        /heap|memory|FATAL|invalid size|bad_alloc/i.test(said)
        ? full()
        : cannotRun(new Error(`it ended (${ended ?? code}): ${said.trim().split('\n')[0]}`)),
    ),
  );
}

function cannotRun(cause: unknown): VertexqError {
  return new VertexqError(
    'ERR_VERTEXQ_WORKER',
    `A process of ${process.execPath} for reading files cannot be run: ${(cause as Error).message}`,
    { cause },
  );
}
