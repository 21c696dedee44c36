import { realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { VertexqError } from '../errors';
import { describe } from '../options/messages';

/** This worker is not for a job, and others may be. */
export class Refusal extends Error {}

/** Real paths of folders. Rejects with ERR_VERTEXQ_FILE where one is not there. */
export async function rootsOf(given: string | readonly string[]): Promise<string[]> {
  const roots: string[] = [];
  for (const folder of [given].flat()) roots.push(await realOf(resolve(folder), `The folder ${folder}`));
  return roots;
}

async function realOf(path: string, what: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${what} cannot be used: ${(cause as Error).message}`, {
      cause,
    });
  }
}

/** Where a path leads that has to lie within `roots`. Rejects with a Refusal where it is not there, or leads elsewhere. */
export async function withinRoots(path: string, what: string, roots: readonly string[]): Promise<string> {
  let real: string;
  try {
    real = await realpath(path);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Refusal(
      `${what}, ${describe(path)}, cannot be reached by this worker: ${code ?? 'no such path'}`,
    );
  }
  if (!roots.some((root) => isIn(real, root)))
    throw new Refusal(`${what}, ${describe(path)}, is not within the folders of this worker (--root)`);
  return real;
}

/** Likewise of what may not be there yet, in a folder that is. */
export async function placeWithinRoots(
  path: string,
  what: string,
  roots: readonly string[],
): Promise<string> {
  return join(await withinRoots(dirname(path), `the folder of ${what}`, roots), basename(path));
}

const isIn = (real: string, root: string) =>
  real === root || real.startsWith(root.endsWith(sep) ? root : root + sep);
