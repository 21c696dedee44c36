import { lstat, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { VertexqError } from '../../errors';
import { isTemporary } from '../../files/output-file';
import type { Shared } from '../../native/shared';
import type { Facts } from '../make-unit';
import { isOfParts } from './part-store';
import { type Found, leastSize, readResult, writeResult } from './result-file';

/**
 * The folder beside an output in which results of units are kept, a file each. A result appears under its name when
 * it is whole and synced, and stays as it is: one that is made twice replaces the same.
 */
export class UnitStore {
  constructor(readonly folder: string) {}

  /** Makes the folder, where it is not there. Rejects with ERR_VERTEXQ_FILE, also where there is something else of that name. */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.folder).catch((cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'EEXIST') throw cause;
      });
      if (!(await lstat(this.folder)).isDirectory()) throw new Error('it is a link, or no folder');
    } catch (cause) {
      throw new VertexqError(
        'ERR_VERTEXQ_FILE',
        `${this.folder}, where results are kept, cannot be used: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  pathOf(key: string): string {
    return join(this.folder, `${key}.unit`);
  }

  /** Whether there is a result of a unit, as far as its size tells. `bytes`: what the unit writes. */
  async isThere(key: string, bytes: number): Promise<boolean> {
    const found = await lstat(this.pathOf(key)).catch(() => undefined);
    return found?.isFile() === true && found.size > leastSize(bytes);
  }

  /** Keeps a result. Rejects with ERR_VERTEXQ_FILE; with the signal's reason. */
  put(key: string, bytes: Shared, facts: Facts, signal: AbortSignal | undefined): Promise<void> {
    return writeResult(this.pathOf(key), key, bytes, facts, signal);
  }

  /** Fills `output` with a result. Returns what the unit found, as the result has it, and with which kernels; undefined where there is none, or a damaged one. */
  async read(key: string, output: Shared): Promise<Found | undefined> {
    if (!(await this.isThere(key, output.length))) return undefined;
    return readResult(this.pathOf(key), key, (bytes) => (bytes === output.length ? output : undefined));
  }

  /** Takes the folder away, with the results of these units and what workers have handed to each other; what others have put into it stays. */
  async remove(keys: Iterable<string>): Promise<void> {
    const own = new Set([...keys].map((key) => `${key}.unit`));
    for (const name of await readdir(this.folder))
      if (own.has(name) || isTemporary(name) || isOfParts(name))
        await rm(join(this.folder, name), { recursive: true, force: true });
    await rmdir(this.folder).catch(() => {}); // unless there is something in it
  }
}
