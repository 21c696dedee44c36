import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { isTemporary, openOwn, syncFolder, writeWhole } from '../files';
import { InputFile } from '../formats/input-file';
import { describe } from '../options/messages';
import { Lock } from '../runs/lock';

const manifestName = 'manifest.json';
const journalName = 'journal';
const lockName = 'lock';

/** What a run depends on: two that agree in it write the same bytes. */
export type Manifest = Readonly<Record<string, unknown>>;

/** That a unit is done: the checksum of the bytes it wrote, and what it found. */
export interface DoneUnit {
  checksum: string;
  facts: unknown;
}

/**
 * The folder beside an output in which it is made: manifest.json, which says of what; a journal, a line for each unit of work that is done;
 * and the files on their way. It is locked for as long as a run works in it.
 */
export class WorkFolder {
  private last: Promise<unknown> = Promise.resolve();
  private noted = false;
  private readonly parts = new Set<string>();

  private constructor(
    readonly path: string,
    private readonly lock: Lock,
    private readonly journal: FileHandle,
    /** By the keys of units. */
    readonly done: ReadonlyMap<string, DoneUnit>,
  ) {}

  /**
   * Opens the folder of a new run, or with `resume` of an interrupted one, if there is any. Rejects with ERR_VERTEXQ_LOCKED where another run
   * works in it, ERR_VERTEXQ_RESUME where its run was of something else, or `resume` was not given; ERR_VERTEXQ_FILE, also where there is
   * something of that name that is not ours.
   */
  static async open(path: string, manifest: Manifest, resume: boolean): Promise<WorkFolder> {
    let lock: Lock | undefined;
    let isNew = false;
    let made = false;
    try {
      made = await makeFolder(path);
      await requireOurs(path);
      lock = await Lock.take(join(path, lockName));
      const before = await readOwn(join(path, manifestName));
      if (before !== undefined) requireSame(path, before, manifest, resume);
      else {
        // Nothing had begun.
        isNew = true;
        await rm(join(path, journalName), { force: true });
        await writeWhole(join(path, manifestName), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
      }
      const lines = await readOwn(join(path, journalName));
      const journal = await openOwn(join(path, journalName), constants.O_WRONLY | constants.O_APPEND);
      // What a kill cut off must not run into the next line.
      if (lines !== undefined && lines !== '' && !lines.endsWith('\n')) await journal.appendFile('\n');
      return new WorkFolder(path, lock, journal, readJournal(lines ?? ''));
    } catch (cause) {
      // Nothing was done that could be gone on with.
      if (isNew) await removeOwn(path, []);
      await (isNew ? lock?.remove() : lock?.close());
      if (made) await rmdir(path).catch(() => {}); // another run is in it
      if (cause instanceof VertexqError) throw cause;
      throw new VertexqError('ERR_VERTEXQ_FILE', `${path} cannot be used: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Where a file is made. */
  partial(name: string): string {
    this.parts.add(`${name}.part`);
    return join(this.path, `${name}.part`);
  }

  /** Notes that a unit is done: after its bytes were written. Rejects with ERR_VERTEXQ_FILE. */
  async note(key: string, unit: DoneUnit): Promise<void> {
    const line = JSON.stringify([key, unit.checksum, unit.facts]);
    const append = this.last.then(() => this.journal.appendFile(`${digest(line)} ${line}\n`));
    this.last = append.catch(() => {});
    this.noted = true;
    await append.catch((cause: Error) => {
      throw new VertexqError('ERR_VERTEXQ_FILE', `${this.path} cannot be written: ${cause.message}`, {
        cause,
      });
    });
  }

  /** Whether there is nothing in it to go on with. */
  get isEmpty(): boolean {
    return this.done.size === 0 && !this.noted;
  }

  /** Lets go of the folder; what is done stays. */
  async close(): Promise<void> {
    await this.last;
    await this.journal.close().catch(() => {}); // closed already
    await this.lock.close().catch(() => {});
  }

  /** Takes the folder away: the run is complete, or nothing worth keeping was done. What others put into it stays. */
  async remove(): Promise<void> {
    await this.last;
    await this.journal.close();
    await removeOwn(this.path, this.parts);
    await this.lock.remove();
    await rmdir(this.path).catch(() => {}); // unless there is something in it
    await syncFolder(dirname(this.path));
  }
}

/** Makes the folder, where there is nothing of that name; whether it did. */
async function makeFolder(path: string): Promise<boolean> {
  try {
    await mkdir(path);
    return true;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    const found = await lstat(path);
    if (!found.isDirectory())
      throw notOurs(path, found.isSymbolicLink() ? 'it is a link' : 'it is no folder');
    return false;
  }
}

/**
 * Throws where a folder is not one that a run of ours left. Its manifest says that it is; before that is written, and after it is removed,
 * there are a lock and temporary files at most.
 */
async function requireOurs(path: string): Promise<void> {
  const names = await readdir(path);
  if (names.includes(manifestName)) {
    const text = (await readOwn(join(path, manifestName))) ?? '';
    if (isForeign(text)) throw notOurs(path, `its ${manifestName} is of something else`);
    return;
  }
  const other = names.find((name) => name !== lockName && !isTemporary(name));
  if (other !== undefined) throw notOurs(path, `it has no ${manifestName}, and holds ${describe(other)}`);
}

/** What cannot be read may be ours, damaged: that is said later, and nothing removed. */
function isForeign(text: string): boolean {
  try {
    const manifest: unknown = JSON.parse(text);
    return !isObject(manifest) || typeof manifest['vertexq'] !== 'string';
  } catch {
    return false;
  }
}

function notOurs(path: string, why: string): VertexqError {
  return new VertexqError(
    'ERR_VERTEXQ_FILE',
    `${path} is where the work on this output would be kept, and is no work folder of vertexq: ${why}. Move it away, or choose another output.`,
  );
}

/** Removes the files of a run, but the lock: the manifest last, which says that they are ours. */
async function removeOwn(path: string, parts: Iterable<string>): Promise<void> {
  const temporary = (await readdir(path).catch((): string[] => [])).filter(isTemporary);
  for (const name of [...parts, ...temporary, journalName, manifestName])
    await rm(join(path, name), { force: true }).catch(() => {}); // a folder, which is not ours
}

/** The text of a file of ours; undefined where there is none. */
async function readOwn(path: string): Promise<string | undefined> {
  const found = await lstat(path).catch(ifMissing);
  if (!found) return undefined;
  const bytes = await InputFile.with(path, (file) => file.read(0, file.size), { followLinks: false });
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8');
}

function ifMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error;
}

const digest = (line: string) => createHash('sha256').update(line).digest('hex').slice(0, 16);

/** The units of all whole lines: a kill may have cut the last one off. */
function readJournal(text: string): Map<string, DoneUnit> {
  const done = new Map<string, DoneUnit>();
  for (const line of text.split('\n')) {
    const rest = line.slice(17);
    if (line.slice(0, 16) !== digest(rest)) continue;
    const [key, checksum, facts] = JSON.parse(rest) as [string, string, unknown];
    done.set(key, { checksum, facts });
  }
  return done;
}

/** Throws where an interrupted run was of something else, and says of what. */
function requireSame(path: string, before: string, manifest: Manifest, resume: boolean): void {
  if (!resume)
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `${path} holds the work of an interrupted run: go on with it with "resume" (--resume), or remove that folder to start anew`,
    );
  let parsed: Record<string, unknown>;
  try {
    parsed = JSON.parse(before) as Record<string, unknown>;
  } catch (cause) {
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `${join(path, 'manifest.json')} cannot be read (${(cause as Error).message}): remove ${path} to start anew`,
      { cause },
    );
  }
  if (parsed['units'] !== manifest['units'])
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `The interrupted run in ${path} was of another version of vertexq${versionIn(parsed)}, which cut the work into other pieces: it cannot be gone on with. Remove that folder to start anew.`,
    );
  const difference = firstDifference(parsed, JSON.parse(JSON.stringify(manifest)), '');
  if (difference !== undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `The interrupted run in ${path} was of something else: ${difference}. Give what it had, or remove that folder to start anew.`,
    );
}

const versionIn = ({ vertexq }: Record<string, unknown>) =>
  typeof vertexq === 'string' ? ` (${vertexq})` : '';

function firstDifference(before: unknown, now: unknown, where: string): string | undefined {
  if (isObject(before) && isObject(now)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const found = firstDifference(before[key], now[key], where === '' ? key : `${where}.${key}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const [a, b] = [JSON.stringify(before), JSON.stringify(now)];
  return a === b ? undefined : `its ${where} was ${a ?? 'not given'} and is now ${b ?? 'not given'}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
