import { constants } from 'node:fs';
import { type FileHandle, lstat, open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { VertexqError } from '../errors';
import { openOwn } from '../files/output-file';
import { binding } from '../native/binding';
import { calling } from '../native/jobs';
import { warn, type Warning } from '../warning-codes';

/** Milliseconds between two looks at a lock that another run has. */
const interval = 50;

/** A file that says, by being locked, that a run is writing an output. The lock ends with the process, however that ends. */
export class Lock {
  private constructor(
    private readonly path: string,
    private readonly handle: FileHandle,
    /** What is to be said of it. */
    readonly warnings: readonly Warning[],
  ) {}

  /**
   * Takes the lock. Rejects with ERR_VERTEXQ_LOCKED where another run has it, and keeps it for `patience` milliseconds; ERR_VERTEXQ_FILE
   * where there is something of that name that is no lock; with the signal's reason.
   */
  static async take(path: string, patience = 0, signal?: AbortSignal): Promise<Lock> {
    for (const until = performance.now() + patience; ;) {
      const handle = await openOwn(path);
      try {
        const isOurs = await isLocked(path, handle);
        if (isOurs !== false) return new Lock(path, handle, isOurs === null ? [noLocks(path)] : []);
      } catch (error) {
        await handle.close();
        throw error;
      }
      await handle.close();
      if (performance.now() >= until)
        throw new VertexqError(
          'ERR_VERTEXQ_LOCKED',
          `Another run is writing this output: ${path} is locked. Wait for its end, or choose another output.`,
        );
      await setTimeout(interval, undefined, { signal }).catch(() => signal?.throwIfAborted());
    }
  }

  /** Whether another run has the lock of this name. */
  static async isHeld(path: string): Promise<boolean> {
    const careful = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
    const handle = await open(path, constants.O_RDWR | careful).catch(() => undefined); // mostly there is none
    try {
      if (!handle || !(await handle.stat()).isFile()) return false;
      return calling(() => binding().lockFile(handle.fd)) === false;
    } finally {
      await handle?.close();
    }
  }

  /** Lets go of the file, which stays. */
  async close(): Promise<void> {
    await this.handle.close().catch(() => {}); // closed already
  }

  /** Takes the file away, then lets go of it: who has opened it meanwhile sees that it is no more. */
  async remove(): Promise<void> {
    await rm(this.path, { force: true }).catch(() => {}); // a lock that nobody holds is in nobody's way
    await this.close();
  }
}

const noLocks = (path: string): Warning =>
  warn(
    'WARN_VERTEXQ_NO_LOCKS',
    `The file system of ${dirname(path)} has no locks: whether another run writes the same output cannot be told.`,
  );

/**
 * Whether an open file is now locked for us, and is still the one of this name: its run may have ended just now. null where the file system has
 * no locks.
 */
async function isLocked(path: string, handle: FileHandle): Promise<boolean | null> {
  const own = await handle.stat({ bigint: true });
  if (own.size > 0n)
    throw new VertexqError(
      'ERR_VERTEXQ_FILE',
      `${path} should be a lock, and there is something in it: move it away`,
    );
  const isOurs = calling(() => binding().lockFile(handle.fd));
  if (isOurs === false) return false;
  const there = await lstat(path, { bigint: true }).catch(() => undefined);
  return there?.ino === own.ino && there.dev === own.dev && isOurs;
}
