import { setImmediate } from 'node:timers/promises';

/** How long the event loop waits at most. */
const slice = 15;

/**
 * For long loops on the main thread: `await turns.next()` in each turn lets the event loop go on now and then, and throws the
 * signal's reason once it is aborted. `due` says whether to wait, which spares the promise.
 */
export class Turns {
  private since = performance.now();

  constructor(private readonly signal?: AbortSignal) {}

  get due(): boolean {
    return performance.now() - this.since > slice;
  }

  async next(): Promise<void> {
    await setImmediate();
    this.signal?.throwIfAborted();
    this.since = performance.now();
  }
}
