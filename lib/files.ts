import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from './errors';

/** One write call takes less than 2 GiB. */
const chunk = 2 ** 30;

/** ERR_VERTEXQ_FILE: why `file` cannot be written. */
function unwritable(file: string, cause: unknown): VertexqError {
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
    readonly temporary: string,
    private readonly handle: FileHandle,
  ) {}

  /** `temporary` lies on the same file system as `file`; default: beside it. Without `reuse` it must not exist. */
  static async create(
    file: string,
    temporary = join(dirname(file), `.vertexq-${randomBytes(8).toString('hex')}.tmp`),
    reuse = false,
  ): Promise<OutputFile> {
    try {
      const flags = reuse ? constants.O_RDWR | constants.O_CREAT | (constants.O_NOFOLLOW ?? 0) : 'wx+';
      return new OutputFile(file, temporary, await open(temporary, flags));
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

  /** Fills `target` from what has been written at `position`; false where the file ends before. */
  async fill(target: Uint8Array, position: number): Promise<boolean> {
    try {
      for (let done = 0; done < target.length;) {
        const length = Math.min(chunk, target.length - done);
        const { bytesRead } = await this.handle.read(target, done, length, position + done);
        if (bytesRead === 0) return false;
        done += bytesRead;
      }
      return true;
    } catch (cause) {
      throw unwritable(this.file, cause);
    }
  }

  /** Syncs the bytes, closes the file and gives it its name. */
  async commit(): Promise<void> {
    try {
      await this.handle.sync().finally(() => this.handle.close());
      await rename(this.temporary, this.file);
      await syncFolder(dirname(this.file));
    } catch (cause) {
      throw unwritable(this.file, cause);
    }
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
 * Writes a file so that its name never stands for a part of it: to a temporary file beside it, synced, renamed. Throws
 * ERR_VERTEXQ_FILE, and then has left nothing.
 */
export async function writeWhole(file: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  const output = await OutputFile.create(file);
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

/** Throws, before any work, where the output could not be written or is one of the inputs. */
export async function checkOutput(inputs: readonly string[], output: string): Promise<void> {
  const folder = dirname(output);
  const cannot = (why: string, cause?: unknown) =>
    new VertexqError('ERR_VERTEXQ_FILE', `${output} cannot be written: ${why}`, { cause });
  try {
    if (!(await stat(folder)).isDirectory()) throw cannot(`the folder ${folder} does not exist`);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw code === 'ENOENT' || code === 'ENOTDIR'
      ? cannot(`the folder ${folder} does not exist`, cause)
      : cannot(`the folder ${folder} is not writable: ${message}`, cause);
  }
  const existing = await stat(output).catch(() => undefined);
  if (existing && !existing.isFile()) throw cannot('it exists and is not a regular file');
  if (!existing) return;
  const real = await realpath(output);
  for (const input of inputs)
    if (real === (await realpath(input).catch(() => undefined)))
      throw new RangeError(
        `The output ${output} is the input${input === output ? '' : ` ${input}`}: give it another name`,
      );
}
