import { dirname, join } from 'node:path';
import { type Kernels, kernels } from '../../environment';
import { InputFile } from '../../files/input-file';
import { OutputFile, temporaryName } from '../../files/output-file';
import { checksum } from '../../native/checksum';
import type { Shared } from '../../native/shared';
import { isObject } from '../../realms';

// A result of a piece of work, as a file: the length of its head, the head as JSON, the bytes.

/** Longer than what any piece of work has found. */
const maxHeadBytes = 2 ** 22;
const lengthBytes = 4;

/** What a result says of itself, before its bytes. */
interface Head {
  key: string;
  /** How many bytes follow. */
  length: number;
  checksum: string;
  kernels: Kernels;
  facts: unknown;
}

/** What of a result is for those that ask for it. */
export type Found = Pick<Head, 'facts' | 'kernels'>;

/** Bytes that a file with so many of a result has at least. */
export const leastSize = (bytes: number): number => lengthBytes + bytes;

/** Writes a result: it appears when it is whole and synced. Rejects with ERR_VERTEXQ_FILE; with the signal's reason. */
export async function writeResult(
  path: string,
  key: string,
  bytes: Shared,
  facts: unknown,
  signal: AbortSignal | undefined,
): Promise<void> {
  const sum = await checksum(bytes);
  const head: Head = { key, length: bytes.length, checksum: sum, kernels: kernels(), facts };
  const text = Buffer.from(JSON.stringify(head));
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt32LE(text.length);
  const file = await OutputFile.create(path, join(dirname(path), temporaryName()));
  try {
    for (const part of [length, text, bytes]) await file.append(part, signal);
    await file.commit();
  } catch (error) {
    await file.discard();
    throw error;
  }
}

/**
 * Reads a result into what `room` gives for so many bytes, undefined where they are not as many as expected. Returns what the result says of itself and its bytes; undefined where it is not that of `key`, or is
 * damaged.
 */
export async function readResult(
  path: string,
  key: string,
  room: (bytes: number) => Shared | undefined,
): Promise<(Found & { bytes: Shared }) | undefined> {
  return InputFile.with(
    path,
    async (file) => {
      if (file.size < lengthBytes) return undefined;
      const length = Buffer.from(await file.read(0, lengthBytes)).readUInt32LE();
      const begin = lengthBytes + length;
      if (length > maxHeadBytes || begin > file.size) return undefined;
      const head = headOf(await file.read(lengthBytes, length));
      if (head?.key !== key || head.length !== file.size - begin) return undefined;
      const bytes = room(head.length);
      if (!bytes) return undefined;
      await file.fill(bytes, begin);
      return (await checksum(bytes)) === head.checksum ? { ...head, bytes } : undefined;
    },
    { followLinks: false },
  );
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
