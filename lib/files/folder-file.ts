import { realpath, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { VertexqError } from '../errors';
import { hubFilesOf } from './hub-cache';
import { InputFile } from './input-file';

// Files of a folder that came from elsewhere: a link in it may lead anywhere.

/** The folder itself; and where it is in a cache of the Hugging Face hub, whose files are links, that cache's files. */
export async function allowedPlaces(folder: string): Promise<string[]> {
  const blobs = await hubFilesOf(folder);
  return [await realpath(folder), ...(blobs === null ? [] : [blobs])];
}

/** Whether a real path is in one of the places. */
export function isWithin(real: string, places: readonly string[]): boolean {
  return places.some((place) => real.startsWith(place + sep));
}

/**
 * The bytes of a folder's file; undefined where there is none. Rejects with ERR_VERTEXQ_FILE where it is no regular file, has more than
 * `most` bytes, or is a link that leads out of the folder.
 */
export async function readFolderFile(
  folder: string,
  name: string,
  most: number,
): Promise<Uint8Array | undefined> {
  const real = await realPathIn(folder, name);
  if (real === undefined) return undefined;
  return InputFile.with(
    real,
    (file) => {
      if (file.size > most)
        throw unreadable(folder, name, `it has ${file.size} bytes, and at most ${most} are allowed`);
      return file.read(0, file.size);
    },
    { followLinks: false },
  );
}

/** Where a folder's file lies; undefined where there is none. Rejects with ERR_VERTEXQ_FILE where it is a link that leads out of the folder. */
export async function realPathIn(folder: string, name: string): Promise<string | undefined> {
  let real: string;
  try {
    real = await realpath(join(folder, name));
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT') return undefined;
    throw unreadable(folder, name, message, cause);
  }
  if (!isWithin(real, await allowedPlaces(folder)))
    throw unreadable(folder, name, `it is a link to ${real}, out of that folder: put the file itself there`);
  return real;
}

const unreadable = (folder: string, name: string, why: string, cause?: unknown) =>
  new VertexqError('ERR_VERTEXQ_FILE', `${join(folder, name)} cannot be read: ${why}`, { cause });

/** Why a folder's file is not to be copied; undefined where it may be, null where that goes without saying: a folder. */
export async function whyNotCopied(
  path: string,
  places: readonly string[],
  most: number,
): Promise<string | null | undefined> {
  const real = await realpath(path).catch(() => undefined);
  const found = real === undefined ? undefined : await stat(real).catch(() => undefined);
  if (real === undefined || !found) return 'a link to nothing';
  if (!isWithin(real, places)) return `a link to ${real}, out of the folder`;
  if (found.isDirectory()) return null;
  if (!found.isFile()) return 'not a regular file';
  return found.size > most ? `${found.size} bytes, and at most ${most} are copied` : undefined;
}
