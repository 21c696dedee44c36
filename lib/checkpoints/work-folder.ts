import { createHash } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { syncFolder, writeWhole } from '../files';
import { binding } from '../native/binding';

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
  private noted = 0;

  private constructor(
    readonly path: string,
    private readonly lock: FileHandle,
    private readonly journal: FileHandle,
    /** By the keys of units. */
    readonly done: ReadonlyMap<string, DoneUnit>,
  ) {}

  /**
   * Opens the folder of a new run, or with `resume` of an interrupted one, if there is any. Rejects with ERR_VERTEXQ_LOCKED where another run
   * works in it, ERR_VERTEXQ_RESUME where its run was of something else, or `resume` was not given; ERR_VERTEXQ_FILE.
   */
  static async open(path: string, manifest: Manifest, resume: boolean): Promise<WorkFolder> {
    let lock: FileHandle | undefined;
    try {
      await mkdir(path, { recursive: true });
      lock = await open(join(path, 'lock'), 'a');
      if (!binding().lockFile(lock.fd))
        throw new VertexqError(
          'ERR_VERTEXQ_LOCKED',
          `Another run is writing this output: ${path} is locked. Wait for its end, or choose another output.`,
        );
      const before = await readFile(join(path, 'manifest.json'), 'utf8').catch(ifMissing);
      if (before !== undefined) requireSame(path, before, manifest, resume);
      const journalPath = join(path, 'journal');
      // Without a manifest nothing had begun.
      if (before === undefined) {
        await rm(journalPath, { force: true });
        await writeWhole(join(path, 'manifest.json'), Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
      }
      const lines = await readFile(journalPath, 'utf8').catch(ifMissing);
      const journal = await open(journalPath, 'a');
      // What a kill cut off must not run into the next line.
      if (lines !== undefined && lines !== '' && !lines.endsWith('\n')) await journal.appendFile('\n');
      return new WorkFolder(path, lock, journal, readJournal(lines ?? ''));
    } catch (cause) {
      await lock?.close();
      if (cause instanceof VertexqError) throw cause;
      throw new VertexqError('ERR_VERTEXQ_FILE', `${path} cannot be used: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Where a file is made. */
  partial(name: string): string {
    return join(this.path, `${name}.part`);
  }

  /** Notes that a unit is done: after its bytes were written. `worth`: whether it was any work. Rejects with ERR_VERTEXQ_FILE. */
  async note(key: string, unit: DoneUnit, worth: boolean): Promise<void> {
    const line = JSON.stringify([key, unit.checksum, unit.facts]);
    const append = this.last.then(() => this.journal.appendFile(`${digest(line)} ${line}\n`));
    this.last = append.catch(() => {});
    if (worth) this.noted++;
    await append.catch((cause: Error) => {
      throw new VertexqError('ERR_VERTEXQ_FILE', `${this.path} cannot be written: ${cause.message}`, {
        cause,
      });
    });
  }

  /** Whether there is nothing in it to go on with. */
  get isEmpty(): boolean {
    return this.done.size === 0 && this.noted === 0;
  }

  /** Lets go of the folder; what is done stays. */
  async close(): Promise<void> {
    await this.last;
    await this.journal.close().catch(() => {}); // closed already
    await this.lock.close().catch(() => {});
  }

  /** Takes the folder away: the run is complete, or nothing worth keeping was done. */
  async remove(): Promise<void> {
    await this.last;
    await this.journal.close();
    // The manifest goes first: without it what is left means nothing.
    await rm(join(this.path, 'manifest.json'), { force: true });
    await rm(this.path, { recursive: true, force: true });
    await this.lock.close();
    await syncFolder(dirname(this.path));
  }
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
  const difference = firstDifference(parsed, JSON.parse(JSON.stringify(manifest)), '');
  if (difference !== undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_RESUME',
      `The interrupted run in ${path} was of something else: ${difference}. Give what it had, or remove that folder to start anew.`,
    );
}

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
