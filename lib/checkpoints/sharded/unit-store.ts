import { lstat, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Kernels, kernels } from '../../environment';
import { VertexqError } from '../../errors';
import { InputFile } from '../../files/input-file';
import { isTemporary, OutputFile, temporaryName } from '../../files/output-file';
import { checksum } from '../../native/checksum';
import type { Shared } from '../../native/shared';
import { isObject } from '../../runs/difference';
import type { Facts } from '../make-unit';

/** Longer than what any unit has found. */
const maxHeadBytes = 2 ** 22;
const lengthBytes = 4;

/** What a result says of itself, before its bytes. */
interface Head {
  key: string;
  checksum: string;
  kernels: Kernels;
  facts: unknown;
}

/**
 * The folder beside an output in which results of units are kept, a file each: the length of its head, the head as JSON, the bytes of the unit's targets. A result appears under its name when
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
    return found?.isFile() === true && found.size > lengthBytes + bytes;
  }

  /** Keeps a result. Rejects with ERR_VERTEXQ_FILE; with the signal's reason. */
  async put(key: string, bytes: Shared, facts: Facts, signal: AbortSignal | undefined): Promise<void> {
    const head: Head = { key, checksum: await checksum(bytes), kernels: kernels(), facts };
    const text = Buffer.from(JSON.stringify(head));
    const length = Buffer.alloc(lengthBytes);
    length.writeUInt32LE(text.length);
    const file = await OutputFile.create(this.pathOf(key), join(this.folder, temporaryName()));
    try {
      for (const part of [length, text, bytes]) await file.append(part, signal);
      await file.commit();
    } catch (error) {
      await file.discard();
      throw error;
    }
  }

  /** Fills `output` with a result. Returns what the unit found, as the result has it, and with which kernels; undefined where there is none, or a damaged one. */
  async read(key: string, output: Shared): Promise<Pick<Head, 'facts' | 'kernels'> | undefined> {
    if (!(await this.isThere(key, output.length))) return undefined;
    return InputFile.with(
      this.pathOf(key),
      async (file) => {
        const length = Buffer.from(await file.read(0, lengthBytes)).readUInt32LE();
        const begin = lengthBytes + length;
        if (length > maxHeadBytes || begin + output.length !== file.size) return undefined;
        const head = headOf(await file.read(lengthBytes, length));
        if (head?.key !== key) return undefined;
        await file.fill(output, begin);
        return (await checksum(output)) === head.checksum ? head : undefined;
      },
      { followLinks: false },
    );
  }

  /** Takes the folder away, with the results of these units; what others have put into it stays. */
  async remove(keys: Iterable<string>): Promise<void> {
    const own = new Set([...keys].map((key) => `${key}.unit`));
    for (const name of await readdir(this.folder))
      if (own.has(name) || isTemporary(name)) await rm(join(this.folder, name), { force: true });
    await rmdir(this.folder).catch(() => {}); // unless there is something in it
  }
}

function headOf(bytes: Uint8Array): Head | undefined {
  try {
    const head: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (!isObject(head) || !isObject(head['kernels'])) return undefined;
    const { blas, simd } = head['kernels'];
    return typeof blas === 'string' && typeof simd === 'string' ? (head as unknown as Head) : undefined;
  } catch {
    return undefined;
  }
}
