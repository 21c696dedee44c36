import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { atOnce } from '../at-once';
import { namingMemory, VertexqError } from '../errors';
import { InputFile } from '../files/input-file';
import { isTemporary } from '../files/output-file';
import { checksum } from '../native/checksum';
import { Buffers } from '../native/buffers';
import type { Shared } from '../native/shared';
import { describe } from '../options/messages';
import { isObject } from '../realms';
import { pieceBytes, pieceSums, piecesAtOnce, type SumCheck } from '../runs/own-checksum';
import { manifestName, workName } from '../runs/work-name';
import { version } from '../version';
import { sortedInTurns, Turns } from '../yielding';

/** Larger than that of any checkpoint, and what one checksum may be of. */
const [maxManifestBytes, maxPieceBytes] = [2 ** 28, 2 ** 34];

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
  // A file may be called __proto__.
  const files = new Map<string, SummedFile>();
  const buffers = new Buffers();
  for (const name of (await filesIn(folder)).sort())
    if (!written.has(name))
      files.set(name, known.get(name) ?? (await summed(join(folder, name), buffers, signal)));
  for (const { name, data } of documents)
    files.set(name, {
      bytes: data.length,
      pieces: data.length === 0 ? [] : [{ ranges: [[0, data.length]], xxh64: await checksum(data) }],
    });
  const told = { schemaVersion: 1, vertexq: version, files: Object.fromEntries(files) };
  return Buffer.from(`${JSON.stringify(told)}\n`);
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

function summed(path: string, buffers: Buffers, signal: AbortSignal | undefined): Promise<SummedFile> {
  const sum = async (file: InputFile): Promise<SummedFile> => {
    const sums = await pieceSums(file, buffers, signal);
    const pieces = sums.map((xxh64, i): SummedPiece => {
      const begin = i * pieceBytes;
      return { ranges: [[begin, Math.min(file.size, begin + pieceBytes)]], xxh64 };
    });
    return { bytes: file.size, pieces };
  };
  return namingMemory(path, () => InputFile.with(path, sum));
}

/** Compares the files of a folder with what its manifest says of them; null where it has none. A file that cannot be read is a fault. */
export async function checkManifest(
  folder: string,
  signal: AbortSignal | undefined,
): Promise<SumCheck | null> {
  const names = await readdir(folder).catch(() => [] as string[]);
  if (!names.includes(manifestName)) return null;
  const result: SumCheck = { files: 0, bytes: 0, faults: [] };
  const files = await readManifest(join(folder, manifestName), signal);
  const buffers = new Buffers();
  if (!files) {
    result.faults.push(`${manifestName} is no manifest of vertexq: it was changed, or is of another version`);
    return result;
  }
  for (const [name, { bytes, pieces }] of Object.entries(files)) {
    const path = join(folder, name);
    const compare = async (file: InputFile) => {
      if (file.size !== bytes)
        return [`${describe(name)} has ${file.size} bytes, and was written with ${bytes}`];
      const others: string[] = [];
      await atOnce(pieces, piecesAtOnce, async ({ ranges, xxh64 }) => {
        signal?.throwIfAborted();
        const all = await bytesOf(file, ranges, buffers);
        if ((await checksum(all)) !== xxh64) others.push(placeOf(ranges));
        result.bytes += all.length;
        buffers.give(all);
      });
      return others.length === 0
        ? []
        : [
            `${describe(name)} is not as it was written: ${others.slice(0, 3).join(', ')}${others.length > 3 ? ` and ${others.length - 3} more` : ''}`,
          ];
    };
    const faults = await namingMemory(path, () => InputFile.with(path, compare)).catch((error: unknown) => {
      if (!(error instanceof VertexqError) || error.code !== 'ERR_VERTEXQ_FILE') throw error;
      const isMissing = (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
      return [isMissing ? `${describe(name)} is missing` : error.message];
    });
    result.files++;
    result.faults.push(...faults);
  }
  return result;
}

const placeOf = ([first, ...rest]: readonly [number, number][]) =>
  `bytes ${first![0]} to ${first![1]}${rest.length > 0 ? ' or those that were made with them' : ''}`;

async function bytesOf(file: InputFile, ranges: SummedPiece['ranges'], buffers: Buffers): Promise<Shared> {
  const all = buffers.take(ranges.reduce((sum, [begin, end]) => sum + end - begin, 0));
  let at = 0;
  for (const [begin, end] of ranges) {
    await file.fill(all.subarray(at, at + end - begin), begin);
    at += end - begin;
  }
  return all;
}

/** undefined where it is none. */
async function readManifest(path: string, signal: AbortSignal | undefined): Promise<SummedFiles | undefined> {
  const text = await InputFile.with(path, async (file) =>
    file.size > maxManifestBytes ? undefined : Buffer.from(await file.read(0, file.size)).toString('utf8'),
  );
  try {
    const found: unknown = JSON.parse(text ?? '');
    if (!isObject(found) || found['schemaVersion'] !== 1 || !isObject(found['files'])) return undefined;
    const turns = new Turns(signal);
    for (const [name, file] of Object.entries(found['files']))
      if (!isPlain(name) || !(await isSummed(file, turns))) return undefined;
    return found['files'] as SummedFiles;
  } catch {
    signal?.throwIfAborted();
    return undefined;
  }
}

/** Whether a name stays in the folder. */
const isPlain = (name: string) =>
  name !== '' &&
  !(process.platform === 'win32' ? /[\\:\0]/ : /\0/).test(name) &&
  name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');

async function isSummed(file: unknown, turns: Turns): Promise<boolean> {
  if (!isObject(file) || !Number.isSafeInteger(file['bytes']) || !Array.isArray(file['pieces'])) return false;
  const ranges: [number, number][] = [];
  for (const piece of file['pieces'] as unknown[]) {
    if (turns.due) await turns.next();
    if (!isObject(piece) || !Array.isArray(piece['ranges']) || typeof piece['xxh64'] !== 'string')
      return false;
    const own = piece['ranges'] as unknown[];
    if (own.length === 0 || !own.every(isRange)) return false;
    if (own.reduce((sum, [begin, end]) => sum + end - begin, 0) > maxPieceBytes) return false;
    // One by one: there may be more than a call takes arguments.
    for (const range of own) ranges.push(range);
  }
  return areAll(ranges, file['bytes'] as number, turns);
}

const isRange = (range: unknown): range is [number, number] =>
  Array.isArray(range) && range.length === 2 && range.every((place) => Number.isSafeInteger(place));

/** Whether ranges have each byte of a file of such a size once. */
export async function areAll(
  ranges: readonly (readonly [number, number])[],
  size: number,
  turns: Turns,
): Promise<boolean> {
  let at = 0;
  for (const [begin, end] of await sortedInTurns(ranges, ([a], [b]) => a - b, turns)) {
    if (begin !== at || end <= begin) return false;
    at = end;
  }
  return at === size;
}
