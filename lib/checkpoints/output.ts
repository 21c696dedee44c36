import { lstat, mkdir, readdir, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { VertexqError } from '../errors';
import { requireWritable } from '../runs/run-files';
import { workFolderOf, workName } from '../runs/work-name';

/** Throws ERR_VERTEXQ_EXISTS where the output is a folder with something in it that is not ours: to be known before work that takes long. */
export async function requireFree(output: string): Promise<void> {
  requireOurs(output, await readdir(output).catch(() => []));
}

function requireOurs(output: string, names: readonly string[]): void {
  if (names.length > 0 && !names.includes(workName))
    throw new VertexqError(
      'ERR_VERTEXQ_EXISTS',
      `${output} cannot be written: there is something in it already, and no interrupted run of ours`,
    );
}

/**
 * Throws where the output could not be written, or holds something that is not ours. Makes its folder; returns where the work folder
 * is, and how to undo it.
 */
export async function prepareOutput(
  isFile: boolean,
  output: string,
): Promise<{ work: string; undo: () => Promise<void> }> {
  const nothing = () => Promise.resolve();
  const cannot = (why: string, cause?: unknown) =>
    new VertexqError('ERR_VERTEXQ_FILE', `${output} cannot be written: ${why}`, { cause });
  if (isFile) {
    await requireWritable(output);
    return { work: workFolderOf(output), undo: nothing };
  }
  const found = await stat(output).catch(() => undefined);
  if (!found) {
    if (await lstat(output).catch(() => undefined)) throw cannot('it is a link to nothing');
    // Another run may make it at the same time: the lock tells them apart.
    await requireWritable(output, { mayExist: true });
    await mkdir(output, { recursive: true }).catch((cause: Error) => {
      throw cannot(cause.message, cause);
    });
    return { work: join(output, workName), undo: () => rmdir(output).catch(() => {}) };
  }
  if (!found.isDirectory()) throw cannot('it exists and is no folder');
  await requireWritable(join(output, 'x'), { mayExist: true });
  const names = await readdir(output).catch((cause: Error) => {
    throw cannot(cause.message, cause);
  });
  requireOurs(output, names);
  return { work: join(output, workName), undo: nothing };
}
