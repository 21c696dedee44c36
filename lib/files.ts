import { randomBytes } from 'node:crypto';
import { open, realpath, rename, rm, stat } from 'node:fs/promises';
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
      for (let start = 0; start < bytes.length;) {
        signal?.throwIfAborted();
        const { bytesWritten } = await handle.write(bytes, start, Math.min(chunk, bytes.length - start));
        start += bytesWritten;
      }
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

/** The rename itself lasts only once its folder is on disk. Windows has no such thing. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Throws, before any work, where the output could not be written or is the input. */
export async function checkOutput(input: string, output: string): Promise<void> {
  const folder = await stat(dirname(output)).catch(() => undefined);
  if (!folder?.isDirectory())
    throw new VertexqError(
      'ERR_VERTEXQ_FILE',
      `${output} cannot be written: the folder ${dirname(output)} does not exist`,
    );
  const existing = await stat(output).catch(() => undefined);
  if (existing && !existing.isFile())
    throw new VertexqError(
      'ERR_VERTEXQ_FILE',
      `${output} cannot be written: it exists and is not a regular file`,
    );
  if (existing && (await realpath(output)) === (await realpath(input).catch(() => undefined)))
    throw new RangeError(`The output ${output} is the input: give it another name`);
}
