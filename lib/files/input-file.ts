import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { VertexqError } from '../errors';
import { requireMemory as requireRoom } from '../memory';
import { type Shared, sharedBytes } from '../native/shared';

/** One `FileHandle.read` of 2 GiB or more aborts the Node process. */
const maxRead = 2 ** 30;

export interface OpenOptions {
  /** Whether `path` may be a symbolic link (default true). */
  followLinks?: boolean;
  /** Ends the reading of what is long. */
  signal?: AbortSignal | undefined;
}

/** What is read of bytes at any position, be they one file's or not. */
export type InputBytes = Pick<
  InputFile,
  'path' | 'size' | 'modified' | 'identity' | 'fill' | 'requireUnchanged' | 'close'
>;

/** A regular file open for reading at any position. Its size is the one it had when it was opened. */
export class InputFile {
  private constructor(
    readonly path: string,
    readonly size: number,
    /** When it was last written, in nanoseconds since 1970. */
    readonly modified: bigint,
    /** Differs once the file has been replaced or, as far as its time tells, written to. */
    readonly identity: string,
    private readonly handle: FileHandle,
  ) {}

  /** Rejects with ERR_VERTEXQ_FILE where `path` cannot be read or is no regular file. It is for the caller to close. */
  static async open(path: string, { followLinks = true }: OpenOptions = {}): Promise<InputFile> {
    let handle: FileHandle;
    try {
      // Without O_NONBLOCK, opening a FIFO would wait for a writer. Windows has none of these.
      const flags = (constants.O_NONBLOCK ?? 0) | (followLinks ? 0 : (constants.O_NOFOLLOW ?? 0));
      handle = await open(path, constants.O_RDONLY | flags);
    } catch (cause) {
      throw unreadable(path, cause);
    }
    try {
      const found = await handle.stat({ bigint: true });
      if (!found.isFile())
        throw new VertexqError(
          'ERR_VERTEXQ_FILE',
          `${path} is not a regular file${found.isDirectory() ? ' but a folder' : ''}`,
        );
      const identity = [found.dev, found.ino, found.size, found.mtimeNs].join();
      return new InputFile(path, Number(found.size), found.mtimeNs, identity, handle);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Opens `path`, runs `use` and closes the file. */
  static async with<Result>(
    path: string,
    use: (file: InputFile) => Promise<Result>,
    options?: OpenOptions,
  ): Promise<Result> {
    const file = await InputFile.open(path, options);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  /** Rejects with ERR_VERTEXQ_FILE if the file has been written since it was opened. */
  async requireUnchanged(): Promise<void> {
    const { size, mtimeNs } = await this.handle.stat({ bigint: true });
    if (Number(size) !== this.size || mtimeNs !== this.modified)
      throw new VertexqError(
        'ERR_VERTEXQ_FILE',
        `${this.path} was changed while it was read: it had ${this.size} bytes and has ${size}`,
      );
  }

  /** Fills `target` from the bytes at `position`. Rejects with ERR_VERTEXQ_FILE if the file ends before. */
  async fill(target: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < target.length;) {
      const wanted = Math.min(maxRead, target.length - done);
      let bytesRead: number;
      try {
        ({ bytesRead } = await this.handle.read(target, done, wanted, position + done));
      } catch (cause) {
        throw unreadable(this.path, cause);
      }
      if (bytesRead === 0)
        throw new VertexqError(
          'ERR_VERTEXQ_FILE',
          position + done < this.size
            ? `${this.path} was changed while it was read: it had ${this.size} bytes and ends at byte ${position + done}`
            : `${this.path} ends at byte ${position + done}, where bytes up to ${position + target.length} were expected`,
        );
      done += bytesRead;
    }
  }

  /** The `length` bytes at `position`. */
  async read(position: number, length: number): Promise<Uint8Array> {
    const target = this.blank(length);
    await this.fill(target, position);
    return target;
  }

  /** The same, piece by piece. */
  async *pieces(position = 0, length = this.size - position, atOnce = 2 ** 24): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < length; at += atOnce) yield this.read(position + at, Math.min(atOnce, length - at));
  }

  /** The same in shared memory, for native jobs, where `room` gives it. */
  async readShared(position: number, length: number, room = sharedBytes): Promise<Shared> {
    requireMemory(length, this.path);
    const target = room(length);
    await this.fill(target, position);
    return target;
  }

  /** A zeroed array for bytes of this file. Throws ERR_VERTEXQ_MEMORY where there is no room for it. */
  blank(length: number): Uint8Array<ArrayBuffer> {
    return allocate(length, this.path);
  }
}

function unreadable(path: string, cause: unknown): VertexqError {
  return new VertexqError('ERR_VERTEXQ_FILE', `${path} cannot be read: ${(cause as Error).message}`, {
    cause,
  });
}

/** Throws ERR_VERTEXQ_MEMORY where there is no room for `bytes` of data. */
export function requireMemory(bytes: number, what: string): void {
  requireRoom(bytes, what, 'Split the data into several files, or give less of it.');
}

/** A zeroed array. Throws ERR_VERTEXQ_MEMORY where there is no room for it. */
export function allocate(bytes: number, what: string): Uint8Array<ArrayBuffer> {
  requireMemory(bytes, what);
  try {
    return new Uint8Array(bytes);
  } catch (cause) {
    throw new VertexqError(
      'ERR_VERTEXQ_MEMORY',
      `${what}: no room for ${bytes} bytes in one piece. Split the data into several files.`,
      { cause },
    );
  }
}
