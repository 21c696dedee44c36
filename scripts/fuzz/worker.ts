// A process that reads mutants, one after the other, and is watched while it does.
import { fork, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ModelOptions } from '../../lib';

export interface Task {
  file: string;
  /** null: only inspect. */
  quantize: { output: string; options: ModelOptions } | null;
}

/** What came of a task. */
export interface Outcome {
  /** `ok`, an error's code or name, or `crash`, `hang` or `memory` where the process did not answer. */
  kind: string;
  message: string;
  milliseconds: number;
  /** The most memory that was resident meanwhile, in bytes; 0 where the system does not tell. */
  peak: number;
}

export interface Limits {
  milliseconds: number;
  bytes: number;
  /** Of the JavaScript heap, MiB. */
  heap: number;
}

/** Runs tasks in a process, and starts another where that one ends. */
export class Worker {
  private child: ChildProcess | null = null;
  private errors = '';

  constructor(private readonly limits: Limits) {}

  async run(task: Task): Promise<Outcome> {
    const child = (this.child ??= this.start());
    const started = performance.now();
    this.errors = '';
    return new Promise((resolve) => {
      let ended = false;
      const end = (outcome: Omit<Outcome, 'milliseconds'>, kill: boolean) => {
        if (ended) return;
        ended = true;
        clearTimeout(timer);
        clearInterval(watch);
        child.removeAllListeners();
        if (kill) this.stop();
        resolve({ ...outcome, milliseconds: performance.now() - started });
      };
      const timer = setTimeout(
        () => end({ kind: 'hang', message: '', peak: 0 }, true),
        this.limits.milliseconds,
      );
      const watch = setInterval(() => {
        const peak = residentMemory(child.pid!);
        if (peak > this.limits.bytes) end({ kind: 'memory', message: '', peak }, true);
      }, 100);
      child.on('message', (outcome: Omit<Outcome, 'milliseconds'>) =>
        end(outcome.peak > this.limits.bytes ? { ...outcome, kind: 'memory' } : outcome, false),
      );
      child.on('exit', (code, signal) => {
        this.child = null;
        end({ kind: 'crash', message: `${code ?? signal}\n${this.errors.slice(-4000)}`, peak: 0 }, false);
      });
      child.send(task);
    });
  }

  stop(): void {
    this.child?.kill('SIGKILL');
    this.child = null;
  }

  private start(): ChildProcess {
    const child = fork(join(__dirname, 'child.ts'), {
      execArgv: [`--max-old-space-size=${this.limits.heap}`, '--import=tsx'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      // So that undefined and bigint arrive as they are.
      serialization: 'advanced',
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.errors += text));
    return child;
  }
}

/** Bytes; 0 where the system does not tell. */
function residentMemory(pid: number): number {
  try {
    return 1024 * Number(/^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);
  } catch {
    return 0;
  }
}
