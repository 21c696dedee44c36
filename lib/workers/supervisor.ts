import { join } from 'node:path';
import { availableMemory } from '../memory';
import { heapWithin } from './heap';
import { type Answer, type Job, plainError, type Unit } from './protocol';
import { pulse } from './pulse';
import { startThread } from './start-thread';

// The main thread of an isolated task's process. It only watches: whatever the task's thread is stuck in, it sees the caller go
// and the time run out.

const interval = 50;
/** After so many looks at the same unit the caller is told of it: it is what a crash is then put down to. */
const looksToTell = 2;

function answer(message: Answer): void {
  process.send?.(message);
}

function run({ task, input, seconds, heap: most }: Job): void {
  // Asked here: limits on the memory of a process are for each of them, and this one has taken some already.
  const heap = heapWithin(most, availableMemory());
  answer({ kind: 'heap', heap });
  const unit = new Int32Array(new SharedArrayBuffer(12)).fill(-1);
  const worker = startThread(join(__dirname, 'thread'), {
    workerData: { task, input, unit },
    resourceLimits: { maxOldGenerationSizeMb: heap },
    stdout: true,
    stderr: true,
  });
  worker.on('message', answer);
  worker.on('error', (error: NodeJS.ErrnoException) =>
    answer(
      error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        ? { kind: 'full' }
        : { kind: 'failed', error: plainError(error) },
    ),
  );
  watch(unit, seconds);
  setInterval(() => answer({ kind: 'alive' }), pulse);
}

/** Looks at the unit. A count of looks, not the time: a machine that sleeps or is busy stops these too. */
function watch(unit: Int32Array, seconds: number): void {
  let looks = 0;
  let seen = -1;
  const timer = setInterval(() => {
    const count = Atomics.load(unit, 0);
    const at: Unit = [Atomics.load(unit, 1), Atomics.load(unit, 2)];
    looks = count === seen ? looks + 1 : 0;
    seen = count;
    if (at[0] < 0) return;
    if (looks === looksToTell) answer({ kind: 'at', unit: at });
    if (looks * interval >= 1000 * seconds) {
      clearInterval(timer);
      answer({ kind: 'slow', unit: at });
    }
  }, interval);
}

process.once('message', run);
// However the caller's process ended: nobody waits for an answer, and a thread stuck in a regular expression delays an exit.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
// A terminal's Ctrl-C goes to every process of its group; the caller decides.
process.on('SIGINT', () => {});
