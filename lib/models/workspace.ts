import { type FileHandle, lstat, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { VertexqError } from '../errors';
import { readAll, syncFolder, temporaryName, writeAll } from '../files/output-file';
import type { Place } from './onnx/skeleton';

/** A file that grows, and is read where it has been written. */
export class SpoolFile {
  private length = 0;
  private writing: Promise<unknown> = Promise.resolve();

  constructor(
    readonly path: string,
    private readonly handle: FileHandle,
  ) {}

  /** Appends bytes and resolves to their place. */
  append(bytes: Uint8Array): Promise<Place> {
    const place = { position: this.length, length: bytes.length };
    this.length += bytes.length;
    const written = this.writing.then(() => writeAll(this.handle, bytes, place.position));
    this.writing = written.catch(() => {});
    return written.then(() => place);
  }

  /** Fills `target` from the bytes at `position`, which have been written. */
  async read(target: Uint8Array, position: number): Promise<void> {
    if (!(await readAll(this.handle, target, position)))
      throw new Error(`${this.path} is shorter than what was written to it`);
  }

  sync(): Promise<void> {
    return this.handle.sync();
  }

  async close(): Promise<void> {
    await this.handle.close().catch(() => {});
  }
}

/**
 * A folder for what is not finished, which goes when the work ends. Made when the first file is. What cannot be
 * written there rejects with ERR_VERTEXQ_FILE, as the output could not be written either.
 */
export class Workspace {
  private readonly files = new Map<string, SpoolFile>();
  private made: Promise<unknown> | undefined;

  /** `output`: what the work is for; `folder`: on the same file system, default beside it. */
  constructor(
    private readonly output: string,
    private readonly folder = join(dirname(output), temporaryName()),
  ) {}

  /** A new file. `name`: its last part is what it will be called in the end, if it is moved. */
  async create(name: string): Promise<SpoolFile> {
    return this.guarded(async () => {
      this.made ??= mkdir(this.folder, { mode: 0o777 });
      await this.made;
      const path = join(this.folder, name);
      const file = new SpoolFile(path, await open(path, 'wx+'));
      this.files.set(name, file);
      return file;
    });
  }

  /** Runs an action on files, with its errors told as ones of the output. */
  async guarded<Result>(action: () => Promise<Result>): Promise<Result> {
    try {
      return await action();
    } catch (cause) {
      // What a signal is aborted with may be anything.
      if (!(cause instanceof Error) || typeof (cause as NodeJS.ErrnoException).errno !== 'number')
        throw cause;
      throw new VertexqError('ERR_VERTEXQ_FILE', `${this.output} cannot be written: ${cause.message}`, {
        cause,
      });
    }
  }

  async remove(name: string): Promise<void> {
    const file = this.files.get(name);
    this.files.delete(name);
    await file?.close();
    if (file) await rm(file.path, { force: true });
  }

  /**
   * Gives files their places beside the output, in this order, and makes that last. Where the output is the last of several, an
   * older one is taken away first: it must not be read with the new one's data.
   */
  async publish(names: readonly string[]): Promise<void> {
    await this.guarded(async () => {
      for (const name of names) {
        await this.files.get(name)!.sync();
        await this.files.get(name)!.close();
      }
      const places = names.map((name) => join(dirname(this.output), name));
      // Before the first of them: none may find something in its way when others have their places.
      for (const place of places) await requireReplaceable(place);
      if (names.length > 1) await rm(this.output, { force: true });
      for (const [i, name] of names.entries()) await rename(join(this.folder, name), places[i]!);
      await syncFolder(dirname(this.output));
    });
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
