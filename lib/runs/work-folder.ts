import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, lstat, mkdir, readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { isTemporary, openOwn, syncFolder, temporaryName, writeWhole } from '../files/output-file';
import { InputFile } from '../files/input-file';
import { describe } from '../options/messages';
import { isObject } from '../realms';
import { firstDifference } from './difference';
import { Lock } from './lock';
import { warn, type Warning } from '../warning-codes';

const manifestName = 'manifest.json';
const journalName = 'journal';
const lockName = 'lock';

/** What a run depends on: two that agree in it write the same bytes. */
export type Manifest = Readonly<Record<string, unknown>>;

/** How a run takes up the work of one before. */
export interface ResumeOptions {
  resume: boolean;
  /** Whether it goes on where other kernels have computed what is done. */
  otherKernels: boolean;
}

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
    /** What is to be said of the work that is gone on with. */
    readonly warnings: readonly Warning[],
  ) {}

  /**
   * Opens the folder of a new run, or with `resume` of an interrupted one, if there is any. Rejects with ERR_VERTEXQ_LOCKED where another run
   * works in it, ERR_VERTEXQ_RESUME where its run was of something else, or `resume` was not given; ERR_VERTEXQ_FILE, also where there is
   * something of that name that is not ours.
   */
  static async open(path: string, manifest: Manifest, options: ResumeOptions): Promise<WorkFolder> {
    const warnings: Warning[] = [];
    let lock: Lock | undefined;
    let isNew = false;
    let made = false;
    try {
      made = await makeFolder(path);
      await requireOurs(path);
      lock = await Lock.take(join(path, lockName));
      warnings.push(...lock.warnings);
      const before = await readOwn(join(path, manifestName));
      let lines = await readOwn(join(path, journalName));
      // What a killed run had on its way and no unit tells of.
      await removeTemporary(path);
      if (before !== undefined && readJournal(lines ?? '').size > 0)
        warnings.push(...requireSame(path, before, manifest, options));
      else {
        // Nothing had begun, or nothing was done.
        isNew = true;
        // A link would have another's file written to, or be taken away.
        if (lines !== undefined) await (await openOwn(join(path, journalName))).close();
        lines = undefined;
        await removeOwn(path, []);
        await writeWhole(join(path, manifestName), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
      }
      const journal = await openOwn(join(path, journalName), constants.O_WRONLY | constants.O_APPEND);
      // What a kill cut off must not run into the next line.
      if (lines !== undefined && lines !== '' && !lines.endsWith('\n')) await journal.appendFile('\n');
      return new WorkFolder(path, lock, journal, readJournal(lines ?? ''), warnings);
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

  /** Whether another run works in the folder of this name. */
  static isInUse(path: string): Promise<boolean> {
    return Lock.isHeld(join(path, lockName));
  }

  /** Where a file is made. */
  partial(name: string): string {
    this.parts.add(`${name}.part`);
    return join(this.path, `${name}.part`);
  }

  /** A name in it for a file or folder that only this run needs. */
  scratch(): string {
    return join(this.path, temporaryName());
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
  await removeTemporary(path);
  for (const name of [...parts, journalName, manifestName])
    await rm(join(path, name), { force: true }).catch(() => {}); // a folder, which is not ours
}

/** Removes files that were being written, and folders of what only one run needed. */
async function removeTemporary(path: string): Promise<void> {
  const names = await readdir(path).catch((): string[] => []);
  for (const name of names.filter(isTemporary))
    await rm(join(path, name), { force: true, recursive: true }).catch(() => {}); // taken away meanwhile
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

/** Throws where an interrupted run was of something else, and says of what. Returns warnings. */
function requireSame(
  path: string,
  before: string,
  manifest: Manifest,
  { resume, otherKernels }: ResumeOptions,
): Warning[] {
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
  const { kernels: then, ...rest } = parsed;
  const { kernels: now, ...own } = JSON.parse(JSON.stringify(manifest)) as Record<string, unknown>;
  const difference = differenceBetween(rest, own, '');
  if (difference !== undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `The interrupted run in ${path} was of something else: ${difference}. Give what it had, or remove that folder to start anew.`,
    );
  const other = differenceBetween(then, now, 'kernels');
  if (other === undefined) return [];
  const what = `What the interrupted run in ${path} did was computed by other kernels: ${other}`;
  if (!otherKernels)
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `${what}. They round otherwise, so that the bytes would be those of neither. Go on where it began, or with "otherKernels" (--other-kernels); or remove that folder to start anew.`,
    );
  return [
    warn(
      'WARN_VERTEXQ_OTHER_KERNELS',
      `${what}: the output is not, to the last bit, what either would have written.`,
    ),
  ];
}

const versionIn = ({ vertexq }: Record<string, unknown>) =>
  typeof vertexq === 'string' ? ` (${vertexq})` : '';

function differenceBetween(before: unknown, now: unknown, where: string): string | undefined {
  const found = firstDifference(before, now, where);
  return (
    found && `its ${found.where} was ${found.before ?? 'not given'} and is now ${found.now ?? 'not given'}`
  );
}
