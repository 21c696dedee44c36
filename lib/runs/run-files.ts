import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VertexqError } from '../errors';
import { keyOf, type Name, type Place, Places } from './places';

/** What a run does with a file or folder. */
type Use =
  /** Reads it; of a folder, whatever is in it. */
  | 'read'
  /** Writes a file, which replaces one of that name. */
  | 'write'
  /** Writes a file whose name follows from another's. */
  | 'derived'
  /** Writes a file in a folder that is written to. */
  | 'inside'
  /** Writes files of this folder, by their names. */
  | 'folder'
  /** Does with all of this folder as it likes, and takes it away. */
  | 'work';

interface Entry {
  use: Use;
  /** As messages call it: `the input`. */
  what: string;
  path: string;
  /** Whether it is the only one that is called so. */
  only: boolean;
  /** Further names in the same folder that are meant with it. */
  series: RegExp | undefined;
}

interface Placed extends Entry {
  place: Place;
}

interface Details {
  only?: boolean;
  series?: RegExp;
}

/**
 * Everything that a run reads and writes, known before it works. Nothing that is written may be something that is read, or something
 * else that is written, hold it or be in it: files are told apart by device and inode, so that no link or spelling of a path hides one.
 */
export class RunFiles {
  private readonly entries = new Map<string, Entry>();

  /** Notes a file, or a folder with all that is in it, that the run reads. `what`: as messages call it. */
  reads(what: string, path: string, details?: Details): void {
    this.add('read', what, path, details);
  }

  /** Notes a file that the run writes. */
  writes(what: string, path: string, details?: Details): void {
    this.add('write', what, path, details);
  }

  /** Notes a file that may be written beside another: as it is replaced, never written through, a hard link of it may be an input. */
  writesBeside(what: string, path: string, details?: Details): void {
    this.add('derived', what, path, details);
  }

  /** Notes a folder that the run writes files to. */
  writesTo(what: string, path: string, details?: Details): void {
    this.add('folder', what, path, details);
  }

  /** Notes a file in such a folder. */
  writesInside(what: string, path: string): void {
    this.add('inside', what, path, {});
  }

  /** Notes a folder that is the run's own while it lasts. */
  worksIn(what: string, path: string): void {
    this.add('work', what, path, {});
  }

  private add(use: Use, what: string, path: string, { only = false, series }: Details = {}): void {
    // Noted twice, by the command line and by the library, it is the same thing.
    this.entries.set([use, what, path].join('\0'), { use, what, path, only, series });
  }

  /** Rejects with a RangeError that names both where something written is, holds or is in something else of the run. */
  async check(): Promise<void> {
    const places = new Places();
    const placed: Placed[] = [];
    for (const entry of this.entries.values()) placed.push({ ...entry, place: await places.of(entry.path) });
    requireApart(placed);
    await requireOtherNames(placed, places);
    requireOutside(placed);
  }

  /** Rejects with ERR_VERTEXQ_FILE where one of the files that are written could not be. */
  async requireWritable(): Promise<void> {
    for (const { use, path } of this.entries.values())
      if (use === 'write' || use === 'derived') await requireWritable(path);
  }
}

/** Throws where something written is something else. */
function requireApart(entries: readonly Placed[]): void {
  const known = new Map<string, Placed>();
  const series: [Name, RegExp, Placed][] = [];
  for (const entry of entries) {
    const { names } = entry.place;
    if (entry.series) for (const name of names) series.push([name, entry.series, entry]);
    for (const key of new Set([entry.place.self, ...names.map(keyOf)])) {
      const other = known.get(key);
      if (other && !(key === entry.place.self && isReplacedLink(entry, other)))
        requireDifferent(entry, other);
      // Of two inputs that are one either will do, of an input and what replaces a link of it the input.
      if (!other || other.use === 'derived') known.set(key, entry);
    }
  }
  for (const [{ folder }, names, one] of series)
    for (const other of entries)
      if (
        other.use !== 'derived' &&
        other.place.names.some((name) => name.folder === folder && names.test(name.name))
      )
        requireDifferent(one, other, other.path);
}

/** Whether one only takes the place of a hard link of the other, which has a name of its own. */
function isReplacedLink(one: Placed, other: Placed): boolean {
  const derived = one.use === 'derived' || other.use === 'derived';
  const names = new Set(one.place.names.map((name) => keyOf(name).toLowerCase()));
  return derived && !other.place.names.some((name) => names.has(keyOf(name).toLowerCase()));
}

/** Throws at names not yet there that differ in case alone, in a folder that does not tell it. */
async function requireOtherNames(entries: readonly Placed[], places: Places): Promise<void> {
  const known = new Map<string, Placed>();
  for (const entry of entries) {
    if (entry.place.exists) continue;
    for (const name of entry.place.names) {
      const key = keyOf(name).normalize('NFC').toLowerCase();
      const other = known.get(key);
      if (other && (entry.use !== 'read' || other.use !== 'read') && (await places.ignoresCase(name)))
        requireTold(entry, other);
      known.set(key, entry);
    }
  }
}

/** Throws at two that are one where case is not told. */
function requireTold(one: Entry, other: Entry): void {
  if (one.use === 'inside' && other.use === 'inside')
    throw new RangeError(
      `The output cannot have both ${other.path} and ${one.path}: its folder does not tell upper from lower case. Write it to another, or rename one in the input`,
    );
  requireDifferent(one, other);
}

function requireDifferent(one: Entry, other: Entry, path?: string): void {
  const [written, read] = rank(one) >= rank(other) ? [one, other] : [other, one];
  if (written.use === 'read') return;
  const at = written === one ? (path ?? written.path) : written.path;
  const what = read.only || read.path === at ? read.what : `${read.what} ${read.path}`;
  throw new RangeError(`The ${written.what} ${at} is the ${what}: give it another name`);
}

/** Of two that are one, the last is to be named otherwise: a report rather than what a run writes anyway. */
function rank({ use, what, only }: Entry): number {
  if (use === 'read') return 0;
  return use === 'write' && only && what !== 'output' ? 2 : 1;
}

/** Throws where something is in a folder that it must not be in. */
function requireOutside(entries: readonly Placed[]): void {
  const folders = new Map<string, Placed[]>();
  for (const entry of entries)
    if (entry.use !== 'read' || entry.place.isFolder)
      folders.set(entry.place.self, [...(folders.get(entry.place.self) ?? []), entry]);
  for (const entry of entries)
    for (const holder of entry.place.holders)
      for (const folder of folders.get(holder) ?? []) {
        const isAllowed =
          folder.use === 'read' ? entry.use === 'read' : folder.use === 'folder' && entry.use !== 'read';
        if (isAllowed) continue;
        throw new RangeError(
          folder.use === 'read'
            ? `The ${entry.what} ${entry.path} is in the ${folder.what} ${folder.path}: give it another place`
            : `The ${folder.what} ${folder.path} holds the ${entry.what} ${entry.path}: give ${entry.use === 'read' ? 'the output' : 'it'} another place`,
        );
      }
}

/** Throws, before any work, ERR_VERTEXQ_FILE where a file could not be written. `mayExist`: as whatever it likes. */
export async function requireWritable(file: string, { mayExist = false } = {}): Promise<void> {
  const folder = dirname(file);
  const cannot = (why: string, cause?: unknown) =>
    new VertexqError('ERR_VERTEXQ_FILE', `${file} cannot be written: ${why}`, { cause });
  try {
    if (!(await stat(folder)).isDirectory()) throw cannot(`the folder ${folder} does not exist`);
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (cause) {
    if (cause instanceof VertexqError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw code === 'ENOENT' || code === 'ENOTDIR'
      ? cannot(`the folder ${folder} does not exist`, cause)
      : cannot(`the folder ${folder} is not writable: ${message}`, cause);
  }
  if (mayExist) return;
  const existing = await stat(file).catch(() => undefined);
  if (existing && !existing.isFile()) throw cannot('it exists and is not a regular file');
}
