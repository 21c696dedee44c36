import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from './errors';

/** One write call takes less than 2 GiB. */
const chunk = 2 ** 30;

/**
 * Writes a file so that its name never stands for a part of it: to a temporary file beside it, synced, renamed. Throws
 * ERR_VERTEXQ_FILE, and then has left nothing.
 */
export async function writeWhole(file: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  const temporary = join(dirname(file), `.vertexq-${randomBytes(8).toString('hex')}.tmp`);
  try {
    const handle = await open(temporary, 'wx');
    try {
      await writeAll(handle, bytes, 0, signal);
      await handle.sync();
    } finally {
      await handle.close();
    }
    signal?.throwIfAborted();
    await rename(temporary, file);
    await syncFolder(dirname(file));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => {}); // the first error tells more
    if (signal?.aborted && cause === signal.reason) throw cause;
    throw new VertexqError('ERR_VERTEXQ_FILE', `${file} cannot be written: ${(cause as Error).message}`, {
      cause,
    });
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
