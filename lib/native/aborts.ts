/** What is to be told of an abort, by signal. */
const waiting = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `stop` when the signal is aborted; the function that is returned takes that back. However many wait, the signal has one
 * listener: Node warns of a leak where it has more than ten.
 */
export function onAbort(signal: AbortSignal, stop: () => void): () => void {
  // Of its own, so that one function given twice is two.
  const own = () => stop();
  let stops = waiting.get(signal);
  if (stops) {
    stops.add(own);
  } else {
    const all = (stops = new Set([own]));
    waiting.set(signal, all);
    signal.addEventListener(
      'abort',
      () => {
        waiting.delete(signal);
        for (const each of all) each();
      },
      { once: true },
    );
  }
  return () => void stops.delete(own);
}

/** What `promise` gives; rejects with the signal's reason as soon as that is aborted, where what makes it cannot be stopped. */
export async function abortable<Result>(
  promise: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (!signal) return promise;
  // Whichever loses must not become an unhandled rejection.
  promise.catch(() => {});
  signal.throwIfAborted();
  let forget: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    forget = onAbort(signal, () => reject(signal.reason as Error));
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    forget?.();
  }
}
