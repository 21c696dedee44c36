import { realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/**
 * The folder with the files of the Hugging Face hub's cache that `folder` is in, null elsewhere: what lies in
 * models--<name>/snapshots/<revision> are links to models--<name>/blobs.
 */
export async function hubFilesOf(folder: string): Promise<string | null> {
  for (let at = await realpath(folder); at !== dirname(at); at = dirname(at)) {
    const snapshots = dirname(at);
    if (basename(snapshots) === 'snapshots' && basename(dirname(snapshots)).startsWith('models--'))
      return join(dirname(snapshots), 'blobs');
  }
  return null;
}
