import { Readable } from 'node:stream';
import { crc32 } from 'node:zlib';
import { type Entry, RandomAccessReader, type ZipFile, fromRandomAccessReaderPromise } from 'yauzl';
import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import type { InputFile } from '../../files/input-file';

// Zip archives as far as .npz files need them: stored and deflated entries, zip64, no encryption, one disk. yauzl parses them; what it
// lets pass and no array file has is refused here.

const chunkBytes = 2 ** 18;
/** More arrays no network takes; so many are listed in a moment. */
const maxEntries = 10_000;
/** A deflate stream can grow by no more than this. */
const maxRatio = 1032;

/** An entry of a zip archive. */
export interface ZipEntry {
  name: string;
  /** Bytes of its content. */
  size: number;
  entry: Entry;
}

/** An open archive. It is read at the positions that its directory names and never as a whole. */
export class ZipArchive {
  private constructor(
    private readonly file: InputFile,
    private readonly zip: ZipFile,
    readonly entries: readonly ZipEntry[],
  ) {}

  /** Lists an archive. Rejects with ERR_VERTEXQ_NPZ, ERR_VERTEXQ_FILE. */
  static async open(file: InputFile): Promise<ZipArchive> {
    const failed = wrongIn(file);
    // Sizes are checked here, with the entry's name in what is said of them.
    const options = { autoClose: false, decodeStrings: false, validateEntrySizes: false } as const;
    const zip = await fromRandomAccessReaderPromise(new FileReader(file), file.size, options).catch(failed);
    if (zip.entryCount > maxEntries)
      throw zipError(file, `has ${zip.entryCount} entries: expected at most ${maxEntries}`);
    const found: Entry[] = [];
    try {
      for await (const entry of zip.eachEntry()) found.push(entry);
    } catch (cause) {
      failed(cause);
    }
    const entries = found.map((entry) => checked(file, entry));
    const names = new Set<string>();
    for (const { name } of entries)
      if (names.size === names.add(name).size)
        throw zipError(file, `has two entries with the name ${describe(name)}`);
    requireDisjoint(file, entries);
    return new ZipArchive(file, zip, entries);
  }

  /**
   * Passes an entry's content to `take`, piece by piece, until that returns false, and checks the size and checksum of what is taken as a whole.
   * Rejects with ERR_VERTEXQ_NPZ, ERR_VERTEXQ_FILE, and what `take` throws.
   */
  async read({ name, size, entry }: ZipEntry, take: (piece: Uint8Array) => boolean): Promise<void> {
    const what = `the entry ${describe(name)}`;
    const failed = wrongIn(this.file, `${what}: `);
    const content = await this.zip.openReadStreamPromise(entry).catch(failed);
    let [found, crc] = [0, 0];
    const pieces = content[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const next: IteratorResult<Buffer, unknown> = await pieces.next().catch(failed);
        if (next.done) break;
        const piece = next.value;
        found += piece.length;
        if (found > size)
          throw zipError(this.file, `damaged: ${what} has more than the ${size} bytes it should have`);
        crc = crc32(piece, crc);
        if (!take(piece)) return;
      }
    } finally {
      content.destroy();
    }
    if (found < size)
      throw zipError(this.file, `damaged: ${what} has ${found} bytes, and should have ${size}`);
    if (crc !== entry.crc32) throw zipError(this.file, `damaged: the checksum of ${what} is wrong`);
  }
}

/** What yauzl reads from. */
class FileReader extends RandomAccessReader {
  constructor(private readonly file: InputFile) {
    super();
  }

  override read(
    buffer: Buffer,
    offset: number,
    length: number,
    position: number,
    callback: (error: Error | null) => void,
  ): void {
    if (position + length > this.file.size) callback(new Error(`it ends at byte ${this.file.size}`));
    else
      this.file.fill(buffer.subarray(offset, offset + length), position).then(() => callback(null), callback);
  }

  override _readStreamForRange(start: number, end: number): Readable {
    return Readable.from(this.file.pieces(start, end - start, chunkBytes), { objectMode: false });
  }
}

function checked(file: InputFile, entry: Entry): ZipEntry {
  const { compressionMethod: method, compressedSize, uncompressedSize: size } = entry;
  let name: string;
  try {
    name = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(entry.fileNameRaw);
  } catch {
    throw zipError(file, `an entry's name is not UTF-8: ${describe(entry.fileNameRaw.toString('latin1'))}`);
  }
  const what = `the entry ${describe(name)}`;
  if (entry.isEncrypted()) throw zipError(file, `${what} is encrypted: save it without a password`);
  if (method !== 0 && method !== 8)
    throw zipError(file, `${what} is compressed by method ${method}: expected 0 (stored) or 8 (deflated)`);
  const most = method === 8 ? maxRatio * compressedSize : compressedSize;
  if (size > most || (method === 0 && size !== compressedSize))
    throw zipError(file, `${what} cannot have ${size} bytes: its ${compressedSize} bytes can hold ${most}`);
  if (!(entry.relativeOffsetOfLocalHeader + 30 + compressedSize <= file.size))
    throw zipError(file, `damaged or truncated: ${what} goes past byte ${file.size}`);
  return { name, size, entry };
}

/** Entries that share bytes are how zip bombs get past a limit on the ratio. */
function requireDisjoint(file: InputFile, entries: readonly ZipEntry[]): void {
  const startOf = ({ entry }: ZipEntry) => entry.relativeOffsetOfLocalHeader;
  const sorted = [...entries].sort((a, b) => startOf(a) - startOf(b));
  for (const [i, entry] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && startOf(entry) + 30 + entry.entry.compressedSize > startOf(next))
      throw zipError(file, `the entries ${describe(entry.name)} and ${describe(next.name)} overlap`);
  }
}

function zipError(file: InputFile, message: string, cause?: unknown): VertexqError {
  return new VertexqError('ERR_VERTEXQ_NPZ', `${file.path}: ${message}`, { cause });
}

/** Throws what went wrong as an error of ours. */
function wrongIn(file: InputFile, where = ''): (cause: unknown) => never {
  return (cause) => {
    if (cause instanceof VertexqError) throw cause;
    throw zipError(
      file,
      `not a .npz file, or truncated or damaged: ${where}${(cause as Error).message}`,
      cause,
    );
  };
}
