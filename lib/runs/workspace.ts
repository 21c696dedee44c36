import { constants } from 'node:fs';
import { access, lstat, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { OutputFile, syncFolder, temporaryName, unwritable } from '../files/output-file';

/** What a run meets where the system's temporary files cannot be written. */
export const noTemporary = (cause: unknown): VertexqError =>
  new VertexqError(
    'ERR_VERTEXQ_FILE',
    `Temporary files cannot be written in ${tmpdir()}: ${(cause as Error).message}. Set TMPDIR to a folder that can be written to`,
    { cause },
  );

/** Rejects with ERR_VERTEXQ_FILE where they cannot. */
export const requireTemporary = (): Promise<void> =>
  access(tmpdir(), constants.W_OK).catch((cause: unknown) => {
    throw noTemporary(cause);
  });

/**
 * A folder for what is not finished, which goes when the work ends. Made when the first file is. What cannot be
 * written there rejects with ERR_VERTEXQ_FILE, as the output could not be written either.
 */
export class Workspace {
  private readonly files = new Map<string, OutputFile>();
  private isTemporary = false;
  private made: Promise<unknown> | undefined;

  /**
   * `output`: what the work is for; `folder`: on the same file system, default beside it. `nameless`: nothing is published, and files have no names, where the
   * system lets one that is open be taken away: their bytes go with the process, however it ends.
   */
  constructor(
    private readonly output: string,
    readonly folder = join(dirname(output), temporaryName()),
    private readonly nameless = false,
  ) {}

  /** One among the system's temporary files, for what is never published. */
  static temporary(nameless = false): Workspace {
    const folder = join(tmpdir(), temporaryName());
    const workspace = new Workspace(folder, folder, nameless);
    workspace.isTemporary = true;
    return workspace;
  }

  /** A new file. `name`: its last part is what it will be called in the end, if it is moved. */
  async create(name: string): Promise<OutputFile> {
    this.made ??= mkdir(this.folder, { mode: 0o777 });
    await this.made.catch((cause: unknown) => {
      throw this.isTemporary ? noTemporary(cause) : unwritable(this.output, cause);
    });
    const file = await OutputFile.create(this.output, this.pathOf(name));
    this.files.set(name, file);
    if (this.nameless) await rm(this.pathOf(name), { force: true }).catch(() => {}); // it goes with the folder
    return file;
  }

  /** A file that was made here. */
  file(name: string): OutputFile {
    return this.files.get(name)!;
  }

  /** Has a file called otherwise, while it is here and in the end. */
  async move(name: string, to: string): Promise<OutputFile> {
    const file = this.file(name);
    await file.move(this.pathOf(to));
    this.files.delete(name);
    this.files.set(to, file);
    return file;
  }

  async remove(name: string): Promise<void> {
    const file = this.files.get(name);
    this.files.delete(name);
    await file?.discard();
  }

  /**
   * Gives files their places beside the output, in this order, and makes that last. Where the output is the last of several, an
   * older one is taken away first: it must not be read with the new one's data.
   */
  async publish(names: readonly string[]): Promise<void> {
    for (const name of names) await this.file(name).finish();
    const places = names.map((name) => join(dirname(this.output), name));
    // Before the first of them: none may find something in its way when others have their places.
    for (const place of places) await requireReplaceable(place);
    if (names.length > 1)
      await rm(this.output, { force: true }).catch((cause: unknown) => {
        throw unwritable(this.output, cause);
      });
    for (const [i, name] of names.entries()) await this.file(name).rename(places[i]!);
    await syncFolder(dirname(this.output));
  }

  /** Where a file of the workspace is. */
  pathOf(name: string): string {
    return join(this.folder, name);
  }

  /** Takes the workspace away, with all that was not published. */
  async end(): Promise<void> {
    for (const file of this.files.values()) await file.close();
    if (this.made) await rm(this.folder, { recursive: true, force: true }).catch(() => {}); // nothing more can be done
  }
}

/** Throws where something has come to be that a file would not replace. */
async function requireReplaceable(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined);
  if (found && !found.isFile() && !found.isSymbolicLink())
    throw new VertexqError(
      'ERR_VERTEXQ_FILE',
      `${path} cannot be written: something that is no regular file has come to be there`,
    );
}
