import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import { InputFile } from './input-file';

/** Files up to this size are hashed whole; of larger ones so many pieces, the first and last bytes among them. */
const wholeBytes = 2 ** 23;
const pieceBytes = 2 ** 16;
const pieces = 64;

/**
 * Tells files from others, whatever they are called and wherever they lie, by 4 MiB of each at most: SHA-256 of their sizes and of all bytes of small
 * ones, of 64 pieces of 64 KiB, evenly spread, of those of more than 8 MiB. Not of times. Rejects with ERR_VERTEXQ_FILE.
 */
export async function sampledHash(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  const byName = (a: string, b: string) => (basename(a) < basename(b) ? -1 : 1);
  for (const path of [...paths].sort(byName))
    await InputFile.with(path, async (file) => {
      hash.update(`${file.size}\n`);
      if (file.size <= wholeBytes) return void hash.update(await file.read(0, file.size));
      for (let i = 0; i < pieces; i++)
        hash.update(await file.read(Math.floor((i * (file.size - pieceBytes)) / (pieces - 1)), pieceBytes));
    });
  return hash.digest('hex');
}
