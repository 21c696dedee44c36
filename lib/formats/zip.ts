import { crc32, createInflateRaw } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { VertexqError } from '../errors';
import { describe } from '../options';
import type { InputFile } from './input-file';

// Reading of zip archives (PKWARE APPNOTE.TXT) as far as .npz files need it: stored and deflated entries, zip64, no
// encryption, one disk. An archive is read at the positions its directory names and never as a whole, and every number in it
// is checked before it is used.

/** An entry of a zip archive's central directory. */
export interface ZipEntry {
  name: string;
  deflated: boolean;
  crc: number;
  compressedSize: number;
  size: number;
  /** Where the local header begins. */
  offset: number;
}

const endBytes = 22;
const maxComment = 0xffff;
const chunkBytes = 2 ** 18;
/** More arrays no network takes; so many are listed in milliseconds. */
const maxEntries = 10_000;
const maxDirectory = 2 ** 24;
/** A deflate stream can grow by no more than this. */
const maxRatio = 1032;

function zipError(file: InputFile, message: string): VertexqError {
  return new VertexqError('ERR_VERTEXQ_NPZ', `${file.path}: ${message}`);
}

/** An archive's entries in the order of its directory. Rejects with ERR_VERTEXQ_NPZ, ERR_VERTEXQ_FILE. */
export async function readZipEntries(file: InputFile): Promise<ZipEntry[]> {
  const directory = await findDirectory(file);
  if (directory.entries > maxEntries || directory.size > maxDirectory)
    throw zipError(
      file,
      `has a directory of ${directory.entries} entries in ${directory.size} bytes: expected at most ${maxEntries} in ${maxDirectory}`,
    );
  const bytes = viewOf(await file.read(directory.offset, directory.size));
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  while (at < directory.size) {
    const room = directory.size - at;
    if (room < 46 || bytes.getUint32(at, true) !== 0x02014b50)
      throw zipError(file, `damaged: its directory has no entry at byte ${directory.offset + at}`);
    const length =
      46 + bytes.getUint16(at + 28, true) + bytes.getUint16(at + 30, true) + bytes.getUint16(at + 32, true);
    if (length > room) throw zipError(file, 'damaged: the last entry of its directory is cut off');
    const entry = parseEntry(
      file,
      new DataView(bytes.buffer, bytes.byteOffset + at, length),
      directory.offset,
    );
    if (names.has(entry.name)) throw zipError(file, `has two entries with the name ${describe(entry.name)}`);
    names.add(entry.name);
    entries.push(entry);
    at += length;
  }
  if (entries.length !== directory.entries)
    throw zipError(
      file,
      `damaged: its directory has ${entries.length} entries, and should have ${directory.entries}`,
    );
  requireDisjoint(file, entries);
  return entries;
}

/** Where the central directory is, from the records at the archive's end. */
async function findDirectory(file: InputFile): Promise<{ offset: number; size: number; entries: number }> {
  const tail = viewOf(
    await file.read(
      Math.max(0, file.size - endBytes - maxComment),
      Math.min(file.size, endBytes + maxComment),
    ),
  );
  const start = file.size - tail.byteLength;
  let at = tail.byteLength - endBytes;
  // The record ends the file, but for a comment of the length that it names.
  while (
    at >= 0 &&
    !(
      tail.getUint32(at, true) === 0x06054b50 &&
      tail.getUint16(at + 20, true) === tail.byteLength - at - endBytes
    )
  )
    at--;
  if (at < 0) throw zipError(file, 'not a .npz file, or truncated: it has no zip directory at its end');
  let disk = tail.getUint16(at + 4, true);
  let entries = tail.getUint16(at + 10, true);
  let size = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  let end = start + at;
  if (entries === 0xffff || size === 0xffffffff || offset === 0xffffffff) {
    if (end < 20) throw zipError(file, 'damaged: its zip64 directory is missing');
    const locator = viewOf(await file.read(end - 20, 20));
    if (locator.getUint32(0, true) === 0x07064b50) {
      end = readUint64(locator, 8);
      if (end + 56 > file.size)
        throw zipError(file, `damaged: its zip64 directory is at byte ${end}, past its end`);
      const record = viewOf(await file.read(end, 56));
      if (record.getUint32(0, true) !== 0x06064b50)
        throw zipError(file, `damaged: it has no zip64 directory at byte ${end}`);
      disk = record.getUint32(16, true);
      entries = readUint64(record, 32);
      size = readUint64(record, 40);
      offset = readUint64(record, 48);
    }
  }
  if (disk !== 0) throw zipError(file, 'is one part of a zip archive of several: join them first');
  if (!(offset + size <= end))
    throw zipError(
      file,
      `damaged or truncated: its directory, ${size} bytes at byte ${offset}, goes past byte ${end}`,
    );
  return { offset, size, entries };
}

function parseEntry(file: InputFile, entry: DataView, directoryOffset: number): ZipEntry {
  const nameLength = entry.getUint16(28, true);
  const name = decodeName(file, new Uint8Array(entry.buffer, entry.byteOffset + 46, nameLength));
  const flags = entry.getUint16(8, true);
  const method = entry.getUint16(10, true);
  if (flags & 1) throw zipError(file, `the entry ${describe(name)} is encrypted: save it without a password`);
  if (method !== 0 && method !== 8)
    throw zipError(
      file,
      `the entry ${describe(name)} is compressed by method ${method}: expected 0 (stored) or 8 (deflated)`,
    );
  const sizes = {
    size: entry.getUint32(24, true),
    compressedSize: entry.getUint32(20, true),
    offset: entry.getUint32(42, true),
  };
  const extra = new DataView(entry.buffer, entry.byteOffset + 46 + nameLength, entry.getUint16(30, true));
  applyZip64(file, name, sizes, extra);
  const { size, compressedSize, offset } = sizes;
  // The local header takes 30 bytes and the name.
  if (!(offset + 30 + nameLength + compressedSize <= directoryOffset))
    throw zipError(
      file,
      `the entry ${describe(name)}, ${compressedSize} bytes at byte ${offset}, goes past byte ${directoryOffset}`,
    );
  const most = method === 8 ? maxRatio * compressedSize : compressedSize;
  if (size > most || (method === 0 && size !== compressedSize))
    throw zipError(
      file,
      `the entry ${describe(name)} cannot have ${size} bytes: its ${compressedSize} bytes can hold ${most}`,
    );
  return { name, deflated: method === 8, crc: entry.getUint32(16, true), size, compressedSize, offset };
}

/** Sizes that do not fit 32 bits are in an extra field, each there only if it is needed. */
function applyZip64(
  file: InputFile,
  name: string,
  sizes: { size: number; compressedSize: number; offset: number },
  extra: DataView,
): void {
  const missing = (['size', 'compressedSize', 'offset'] as const).filter(
    (field) => sizes[field] === 0xffffffff,
  );
  if (missing.length === 0) return;
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const [id, length] = [extra.getUint16(at, true), extra.getUint16(at + 2, true)];
    if (id === 1 && length >= 8 * missing.length && at + 4 + length <= extra.byteLength) {
      for (const [i, field] of missing.entries()) sizes[field] = readUint64(extra, at + 4 + 8 * i);
      return;
    }
    at += 4 + length;
  }
  throw zipError(file, `the entry ${describe(name)} lacks its zip64 sizes`);
}

/** Entries that share bytes are how zip bombs get past a limit on the ratio. */
function requireDisjoint(file: InputFile, entries: readonly ZipEntry[]): void {
  const sorted = [...entries].sort((a, b) => a.offset - b.offset);
  for (const [i, entry] of sorted.entries()) {
    const next = sorted[i + 1];
    if (next && entry.offset + 30 + entry.compressedSize > next.offset)
      throw zipError(file, `the entries ${describe(entry.name)} and ${describe(next.name)} overlap`);
  }
}

function decodeName(file: InputFile, bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw zipError(file, `an entry's name is not UTF-8: ${describe(Buffer.from(bytes).toString('latin1'))}`);
  }
}

/**
 * Passes an entry's content to `take`, piece by piece, and checks its size and checksum. Rejects with ERR_VERTEXQ_NPZ,
 * ERR_VERTEXQ_FILE, and what `take` throws.
 */
export async function readZipEntry(
  file: InputFile,
  entry: ZipEntry,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const what = `the entry ${describe(entry.name)}`;
  const local = viewOf(await file.read(entry.offset, 30));
  const start = entry.offset + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (local.getUint32(0, true) !== 0x04034b50)
    throw zipError(file, `damaged: ${what} is not at byte ${entry.offset}`);
  if (start + entry.compressedSize > file.size) throw zipError(file, `truncated: ${what} goes past its end`);
  let size = 0;
  let crc = 0;
  const consume = async (content: AsyncIterable<Uint8Array>) => {
    for await (const piece of content) {
      size += piece.length;
      if (size > entry.size)
        throw zipError(file, `damaged: ${what} has more than the ${entry.size} bytes it should have`);
      crc = crc32(piece, crc);
      take(piece);
    }
  };
  if (!entry.deflated) await consume(pieces(file, start, entry.compressedSize));
  else await inflate(file, start, entry, consume);
  if (size < entry.size)
    throw zipError(file, `damaged: ${what} has ${size} bytes, and should have ${entry.size}`);
  if (crc !== entry.crc) throw zipError(file, `damaged: the checksum of ${what} is wrong`);
}

/** Passes what the deflate stream of `entry`, which begins at byte `start`, inflates to on to `consume`. */
async function inflate(
  file: InputFile,
  start: number,
  entry: ZipEntry,
  consume: (content: AsyncIterable<Uint8Array>) => Promise<void>,
): Promise<void> {
  const inflater = createInflateRaw({ chunkSize: chunkBytes });
  const broken = (message: string, cause?: unknown) =>
    new VertexqError(
      'ERR_VERTEXQ_NPZ',
      `${file.path}: damaged: the entry ${describe(entry.name)} ${message}`,
      { cause },
    );
  try {
    await pipeline(pieces(file, start, entry.compressedSize), inflater, consume);
  } catch (cause) {
    const code = String((cause as { code?: unknown }).code);
    if (code.startsWith('Z_')) throw broken(`does not inflate: ${(cause as Error).message}`, cause);
    // How a pipeline ends whose middle is done before its source.
    if (code !== 'ABORT_ERR') throw cause;
  }
  if (inflater.bytesWritten !== entry.compressedSize)
    throw broken(
      `has ${entry.compressedSize - inflater.bytesWritten} bytes after the end of its deflate stream`,
    );
}

async function* pieces(file: InputFile, start: number, length: number): AsyncGenerator<Uint8Array> {
  for (let done = 0; done < length; done += chunkBytes)
    yield file.read(start + done, Math.min(chunkBytes, length - done));
}

/** Numbers past 2^53 lose bits here, and are past the end of any file. */
function readUint64(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
