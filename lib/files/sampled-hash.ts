import { createHash, type Hash } from 'node:crypto';
import { basename } from 'node:path';
import { InputFile } from './input-file';

/** Files up to this size are hashed whole; of larger ones so many pieces, the first and last bytes among them. */
const wholeBytes = 2 ** 23;
const pieceBytes = 2 ** 16;
const pieces = 64;

/** A file that was written so short a time ago, in nanoseconds, may be written again without its time telling. */
const settledAfter = 2_000_000_000n;
/** Hashes found so far, by the files they are of: workers ask again for every part that they do. The oldest go first. */
const found = new Map<string, string>();
const mostFound = 4096;

/**
 * Tells files from others, whatever they are called and wherever they lie, by 4 MiB of each at most: SHA-256 of their sizes and of all bytes of small
 * ones, of 64 pieces of 64 KiB, evenly spread, of those of more than 8 MiB. Not of times. Of files that are, by their times, as they were, they are not read again. Rejects with ERR_VERTEXQ_FILE.
 */
export async function sampledHash(paths: readonly string[]): Promise<string> {
  const byName = (a: string, b: string) => (basename(a) < basename(b) ? -1 : 1);
  const sorted = [...paths].sort(byName);
  const identities: string[] = [];
  for (const path of sorted)
    identities.push(await InputFile.with(path, ({ identity }) => Promise.resolve(identity)));
  const known = found.get(identities.join(' '));
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  let isSettled = true;
  for (const [i, path] of sorted.entries())
    await InputFile.with(path, async (file) => {
      await addSamples(hash, file);
      await file.requireUnchanged();
      const age = BigInt(Date.now()) * 1_000_000n - file.modified;
      isSettled &&= file.identity === identities[i] && age > settledAfter;
    });
  const digest = hash.digest('hex');
  if (isSettled) remember(identities.join(' '), digest);
  return digest;
}

async function addSamples(hash: Hash, file: InputFile): Promise<void> {
  hash.update(`${file.size}\n`);
  if (file.size <= wholeBytes) return void hash.update(await file.read(0, file.size));
  const bytes = new Uint8Array(pieceBytes);
  for (let i = 0; i < pieces; i++) {
    await file.fill(bytes, Math.floor((i * (file.size - pieceBytes)) / (pieces - 1)));
    hash.update(bytes);
  }
}

function remember(key: string, digest: string): void {
  if (found.size >= mostFound) found.delete(found.keys().next().value!);
  found.set(key, digest);
}
