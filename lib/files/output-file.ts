import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { plainPath } from './plain-path';

/** One write call takes less than 2 GiB. */
const chunk = 2 ** 30;

/** A new name for what is not finished. */
export const temporaryName = () => `.vertexq-${randomBytes(8).toString('hex')}.tmp`;

/** Whether a name is one of those. */
export const isTemporary = (name: string) => /^\.vertexq-[0-9a-f]{16}\.tmp$/.test(name);

/** ERR_VERTEXQ_FILE: why `file` cannot be written. */
export function unwritable(file: string, cause: unknown): VertexqError {
  if (cause instanceof VertexqError) return cause;
  return new VertexqError('ERR_VERTEXQ_FILE', `${file} cannot be written: ${(cause as Error).message}`, {
    cause,
  });
}

/**
 * A file on its way: its bytes go to a temporary file, in any order, and it appears under its own name only when it is whole. All
 * rejections are ERR_VERTEXQ_FILE.
 */
export class OutputFile {
  private constructor(
    readonly file: string,
    private path: string,
    private readonly handle: FileHandle,
  ) {}

  /** What it is called until it is whole. */
  get temporary(): string {
    return this.path;
  }

  /** Bytes that `append` has taken. */
  private length = 0;

  /** `other`: a temporary name on the same file system; default: one beside it. Without `reuse` it must not exist. */
  static async create(given: string, other?: string, reuse = false): Promise<OutputFile> {
    const file = plainPath(given);
    const temporary = other ?? join(dirname(file), temporaryName());
    try {
      return new OutputFile(file, temporary, await (reuse ? openOwn(temporary) : open(temporary, 'wx+')));
    } catch (cause) {
      throw unwritable(file, cause);
    }
  }

  async write(bytes: Uint8Array, position: number, signal?: AbortSignal): Promise<void> {
    try {
      await writeAll(this.handle, bytes, position, signal);
    } catch (cause) {
      if (signal?.aborted && cause === signal.reason) throw cause;
      throw unwritable(this.file, cause);
    }
  }

  /** Writes bytes behind those that were appended before, and resolves to their place. */
  async append(bytes: Uint8Array, signal?: AbortSignal): Promise<{ position: number; length: number }> {
    const place = { position: this.length, length: bytes.length };
    this.length += bytes.length;
    await this.write(bytes, place.position, signal);
    return place;
  }

  /** Fills `target` from what has been written at `position`; false where the file ends before. */
  async fill(target: Uint8Array, position: number): Promise<boolean> {
    try {
      return await readAll(this.handle, target, position);
    } catch (cause) {
      throw unwritable(this.file, cause);
    }
  }

  /** Syncs the bytes, closes the file and gives it its name. `size`: as `finish` takes it. */
  async commit(size?: number): Promise<void> {
    await this.finish(size);
    await this.rename(this.file);
    await syncFolder(dirname(this.file));
  }

  /** Syncs the bytes and closes the file. `size`: what an older file of the temporary name had beyond it is cut off. */
  async finish(size?: number): Promise<void> {
    try {
      if (size !== undefined) await this.handle.truncate(size);
      await this.handle.sync().finally(() => this.handle.close());
    } catch (cause) {
      throw unwritable(this.file, cause);
    }
  }

  /** Gives it a name. */
  async rename(to: string): Promise<void> {
    await rename(this.temporary, to).catch((cause: unknown) => {
      throw unwritable(this.file, cause);
    });
  }

  /** Gives it another temporary name. */
  async move(to: string): Promise<void> {
    await this.rename(to);
    this.path = to;
  }

  /** Closes the file; what was written stays under the temporary name. */
  async close(): Promise<void> {
    await this.handle.close().catch(() => {}); // closed already, or never to be read
  }

  /** Closes the file and takes it away. */
  async discard(): Promise<void> {
    await this.close();
    await rm(this.temporary, { force: true }).catch(() => {}); // what went wrong before tells more
  }
}

/**
 * Opens a file that runs of vertexq alone write to, or makes it. Rejects with ERR_VERTEXQ_FILE where there is something else of that name:
 * a link, also a hard one, would have another file written to, and a pipe would have us wait.
 */
export async function openOwn(path: string, flags = constants.O_RDWR): Promise<FileHandle> {
  const careful = (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0);
  const not = (what: string, cause?: unknown) =>
    new VertexqError(
      'ERR_VERTEXQ_FILE',
      `${path} cannot be written: it is ${what}, which vertexq did not make`,
      { cause },
    );
  const handle = await open(path, flags | constants.O_CREAT | careful).catch(
    (cause: NodeJS.ErrnoException) => {
      throw cause.code === 'ELOOP'
        ? not('a link', cause)
        : cause.code === 'EISDIR'
          ? not('a folder', cause)
          : cause;
    },
  );
  try {
    const found = await handle.stat();
    if (!found.isFile()) throw not('not a regular file');
    if (found.nlink > 1) throw not('a file that has another name too');
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Writes a file so that its name never stands for a part of it: to a temporary file (default: beside it), synced, renamed. Throws
 * ERR_VERTEXQ_FILE, and then has left nothing.
 */
export async function writeWhole(
  file: string,
  bytes: Uint8Array,
  signal?: AbortSignal,
  temporary?: string,
): Promise<void> {
  const output = await OutputFile.create(file, temporary);
  try {
    await output.write(bytes, 0, signal);
    signal?.throwIfAborted();
    await output.commit();
  } catch (error) {
    await output.discard();
    throw error;
  }
}

/** Writes all of `bytes` at a position of a file. */
export async function writeAll(
  handle: FileHandle,
  bytes: Uint8Array,
  position: number,
  signal?: AbortSignal,
): Promise<void> {
  for (let start = 0; start < bytes.length;) {
    signal?.throwIfAborted();
    const length = Math.min(chunk, bytes.length - start);
    const { bytesWritten } = await handle.write(bytes, start, length, position + start);
    start += bytesWritten;
  }
}

/** Fills `target` from the bytes at a position of a file; false where it ends before. */
export async function readAll(handle: FileHandle, target: Uint8Array, position: number): Promise<boolean> {
  for (let done = 0; done < target.length;) {
    const length = Math.min(chunk, target.length - done);
    const { bytesRead } = await handle.read(target, done, length, position + done);
    if (bytesRead === 0) return false;
    done += bytesRead;
  }
  return true;
}

/**
 * The rename itself lasts only once its folder is on disk. Windows and some network file systems have no such thing, and a folder
 * that may be written need not be readable: the file is there all the same.
 */
export async function syncFolder(folder: string): Promise<void> {
  try {
    const handle = await open(folder, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    // nothing more can be done
  }
}

/** A file's time for people; file systems hold times that no date can be. */
export function timeOf(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n));
  return Number.isNaN(date.getTime()) ? `${nanoseconds / 1_000_000_000n} s` : date.toISOString();
}
