import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { atOnce } from '../at-once';
import { VertexqError } from '../errors';
import { InputFile } from '../files/input-file';
import { isTemporary } from '../files/output-file';
import { checksum } from '../native/checksum';
import { type Shared, sharedBytes } from '../native/shared';
import { describe } from '../options/messages';
import { isObject } from '../realms';
import { manifestName, workName } from '../runs/work-name';
import { version } from '../version';

/** Bytes of a file without units that have a checksum together. */
const pieceBytes = 2 ** 24;
/** Some are read while others are computed with. */
const piecesAtOnce = 3;
/** Larger than that of any checkpoint, and what one checksum may be of. */
const [maxManifestBytes, maxPieceBytes] = [2 ** 28, 2 ** 36];

/** Ranges of a file, and the XXH64 of their bytes one behind the other. */
export interface SummedPiece {
  ranges: [begin: number, end: number][];
  xxh64: string;
}

export interface SummedFile {
  bytes: number;
  pieces: SummedPiece[];
}

/** By names, with `/` between folders. */
type SummedFiles = Record<string, SummedFile>;

/**
 * The text of the manifest of a folder, but for what is not written yet: `documents`. `known`: of files of which checksums are known, as they were made with them; others are
 * read. Rejects with ERR_VERTEXQ_FILE.
 */
export async function manifestText(
  folder: string,
  documents: readonly { name: string; data: Uint8Array }[],
  known: ReadonlyMap<string, SummedFile>,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const written = new Set(documents.map(({ name }) => name));
  const files: SummedFiles = {};
  for (const name of (await filesIn(folder)).sort())
    if (!written.has(name)) files[name] = known.get(name) ?? (await summed(join(folder, name), signal));
  for (const { name, data } of documents)
    files[name] = {
      bytes: data.length,
      pieces: data.length === 0 ? [] : [{ ranges: [[0, data.length]], xxh64: await checksum(data) }],
    };
  return Buffer.from(`${JSON.stringify({ schemaVersion: 1, vertexq: version, files })}\n`);
}

/** All files in a folder and those in it, but for work that is not finished and the manifest itself. */
async function filesIn(folder: string, prefix = ''): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const name = `${prefix}${entry.name}`;
    if (name === manifestName || entry.name === workName || isTemporary(entry.name)) continue;
    if (entry.isDirectory()) found.push(...(await filesIn(join(folder, entry.name), `${name}/`)));
    else if (entry.isFile()) found.push(name);
  }
  return found;
}

function summed(path: string, signal: AbortSignal | undefined) {
  return InputFile.with(path, async (file) => {
    const begins = Array.from({ length: Math.ceil(file.size / pieceBytes) }, (_, i) => i * pieceBytes);
    const pieces: SummedPiece[] = [];
    await atOnce(begins, piecesAtOnce, async (begin, i) => {
      signal?.throwIfAborted();
      const end = Math.min(file.size, begin + pieceBytes);
      const bytes = sharedBytes(end - begin);
      await file.fill(bytes, begin);
      pieces[i] = { ranges: [[begin, end]], xxh64: await checksum(bytes) };
    });
    return { bytes: file.size, pieces };
  });
}

/** What comparing a folder with its manifest has shown. */
export interface ManifestCheck {
  /** Files that were compared, and their bytes that have checksums. */
  files: number;
  bytes: number;
  faults: string[];
}

/** Compares the files of a folder with what its manifest says of them; null where it has none. Rejects with ERR_VERTEXQ_FILE where one cannot be read. */
export async function checkManifest(
  folder: string,
  signal: AbortSignal | undefined,
): Promise<ManifestCheck | null> {
  const names = await readdir(folder).catch(() => [] as string[]);
  if (!names.includes(manifestName)) return null;
  const result: ManifestCheck = { files: 0, bytes: 0, faults: [] };
  const files = await readManifest(join(folder, manifestName));
  if (!files) {
    result.faults.push(`${manifestName} is no manifest of vertexq: it was changed, or is of another version`);
    return result;
  }
  for (const [name, { bytes, pieces }] of Object.entries(files)) {
    const path = join(folder, name);
    const faults = await InputFile.with(path, async (file) => {
      if (file.size !== bytes)
        return [`${describe(name)} has ${file.size} bytes, and was written with ${bytes}`];
      const others: string[] = [];
      await atOnce(pieces, piecesAtOnce, async ({ ranges, xxh64 }) => {
        signal?.throwIfAborted();
        const all = await bytesOf(file, ranges);
        if ((await checksum(all)) !== xxh64) others.push(placeOf(ranges));
        result.bytes += all.length;
      });
      return others.length === 0
        ? []
        : [
            `${describe(name)} is not as it was written: ${others.slice(0, 3).join(', ')}${others.length > 3 ? ` and ${others.length - 3} more` : ''}`,
          ];
    }).catch((error: unknown) => {
      const { cause } = error as { cause?: NodeJS.ErrnoException };
      if (!(error instanceof VertexqError) || cause?.code !== 'ENOENT') throw error;
      return [`${describe(name)} is missing`];
    });
    result.files++;
    result.faults.push(...faults);
  }
  return result;
}

const placeOf = ([first, ...rest]: readonly [number, number][]) =>
  `bytes ${first![0]} to ${first![1]}${rest.length > 0 ? ' or those that were made with them' : ''}`;

async function bytesOf(file: InputFile, ranges: SummedPiece['ranges']): Promise<Shared> {
  const all = sharedBytes(ranges.reduce((sum, [begin, end]) => sum + end - begin, 0));
  let at = 0;
  for (const [begin, end] of ranges) {
    await file.fill(all.subarray(at, at + end - begin), begin);
    at += end - begin;
  }
  return all;
}

/** undefined where it is none. */
async function readManifest(path: string): Promise<SummedFiles | undefined> {
  const text = await InputFile.with(path, async (file) =>
    file.size > maxManifestBytes ? undefined : Buffer.from(await file.read(0, file.size)).toString('utf8'),
  );
  try {
    const found: unknown = JSON.parse(text ?? '');
    if (!isObject(found) || found['schemaVersion'] !== 1 || !isObject(found['files'])) return undefined;
    const files = found['files'] as SummedFiles;
    return Object.entries(files).every(([name, file]) => isPlain(name) && isSummed(file)) ? files : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a name stays in the folder. */
const isPlain = (name: string) =>
  name !== '' &&
  !/[\\\0]/.test(name) &&
  name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

function isSummed(file: unknown): boolean {
  if (!isObject(file) || !Number.isSafeInteger(file['bytes']) || !Array.isArray(file['pieces'])) return false;
  const size = file['bytes'] as number;
  return file['pieces'].every((piece: unknown) => {
    if (!isObject(piece) || !Array.isArray(piece['ranges']) || typeof piece['xxh64'] !== 'string')
      return false;
    let length = 0;
    return piece['ranges'].every((range: unknown) => {
      if (!Array.isArray(range) || range.length !== 2) return false;
      const [begin, end] = range as [unknown, unknown];
      if (!Number.isSafeInteger(begin) || !Number.isSafeInteger(end)) return false;
      length += (end as number) - (begin as number);
      return (
        0 <= (begin as number) &&
        (begin as number) <= (end as number) &&
        (end as number) <= size &&
        length <= maxPieceBytes
      );
    });
  });
}
