import { availableProcessors } from '../processors';
import { isErrorCode } from '../error-codes';
import { noMemory, outOfMemory, VertexqError } from '../errors';
import type { JobOptions } from '../types';
import { onAbort } from './aborts';
import { binding, type NativeJob } from './binding';

/** How often a running job's progress is looked at. */
const progressInterval = 50;

/**
 * Waits for a native job. An abort rejects at once with the signal's reason; the job's threads stop the next time they look. They hold
 * copies of their inputs, so nothing of the caller's is touched after that. An exception of `onProgress` stops the job too and is thrown on.
 */
export async function finish<Result>(
  start: () => NativeJob<Result>,
  signal: AbortSignal | undefined,
  onProgress?: (done: number, total: number) => void,
): Promise<Result> {
  signal?.throwIfAborted();
  const job = calling(start);
  const result = job.promise.catch((error: unknown) => {
    throw fromNative(error);
  });
  let timer: NodeJS.Timeout | undefined;
  let forget: (() => void) | undefined;
  const interrupted = new Promise<never>((_, reject) => {
    const stop = (reason: unknown) => {
      job.cancel();
      reject(reason);
    };
    if (signal) forget = onAbort(signal, () => stop(signal.reason));
    if (onProgress) timer = setInterval(() => attempt(() => tell(job, onProgress), stop), progressInterval);
  });
  try {
    const value = await Promise.race([result, interrupted]);
    if (onProgress) tell(job, onProgress);
    return value;
  } finally {
    clearInterval(timer);
    forget?.();
    // Whichever lost the race must not become an unhandled rejection.
    result.catch(() => {});
    interrupted.catch(() => {});
  }
}

function tell(job: NativeJob<unknown>, onProgress: (done: number, total: number) => void): void {
  const { done, total } = job.progress();
  if (total > 0) onProgress(done, total);
}

function attempt(action: () => void, onError: (error: unknown) => void): void {
  try {
    action();
  } catch (error) {
    onError(error);
  }
}

/** What a call of the addon returns. What it throws is a VertexqError where it is no TypeError. */
export function calling<Result>(call: () => Result): Result {
  try {
    return call();
  } catch (error) {
    throw fromNative(error);
  }
}

function fromNative(error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_VERTEXQ_MEMORY') return outOfMemory(message);
  if (isErrorCode(code)) return new VertexqError(code, message);
  // Of an allocation that stands before the addon's own code.
  return message === 'std::bad_alloc' ? outOfMemory(noMemory) : error;
}

/** The threads a job may use: as asked for, within what the addon can run. */
export function threadsFor(options: JobOptions): number {
  return Math.min(options.threads ?? availableProcessors(), calling(() => binding().blasInfo()).maxThreads);
}
