import type { EventEmitter } from 'node:events';

/** How often a supervisor says something, in ms, if only that it is there. */
export const pulse = 1000;

/**
 * Calls `onSilence` where nothing is heard of a process for so many beats of the pulse (a busy machine misses some): its main thread,
 * which only watches, waits then for memory that does not come. Returns what to call when something is heard. Counts of looks, not the
 * time: a machine that sleeps stops these too.
 */
export function requirePulse(child: EventEmitter, onSilence: () => void, missed = 60): () => void {
  let silent = 0;
  const timer = setInterval(() => {
    if (++silent >= missed) onSilence();
  }, pulse);
  // Of a process that could not be started there is no exit: it is not what is waited for.
  timer.unref();
  child.once('exit', () => clearInterval(timer));
  return () => void (silent = 0);
}
