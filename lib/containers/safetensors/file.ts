import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { allocate, InputFile, type OpenOptions } from '../../files/input-file';
import type { Shared } from '../../native/shared';
import { type Header, headerLength, parseHeader, prefixBytes, type TensorEntry } from './header';

/** A safetensors file open for reading. Only its header is in memory. */
export class SafetensorsFile {
  private constructor(
    private readonly file: InputFile,
    private readonly header: Header,
    /** The header as it lies in the file: it tells every tensor's name, dtype, shape and place. */
    readonly headerBytes: Uint8Array,
  ) {}

  /**
   * Opens `path` and checks its header. Rejects with ERR_VERTEXQ_FILE or ERR_VERTEXQ_SAFETENSORS. It is for the caller to close.
   */
  static async open(path: string, options?: OpenOptions): Promise<SafetensorsFile> {
    const file = await InputFile.open(path, options);
    try {
      if (file.size < prefixBytes)
        throw new VertexqError(
          'ERR_VERTEXQ_SAFETENSORS',
          `${path} is no valid safetensors file: it has ${file.size} bytes, and the header's length alone takes ${prefixBytes}`,
        );
      const length = headerLength(await file.read(0, prefixBytes), file.size, path);
      const bytes = await file.read(prefixBytes, length);
      return new SafetensorsFile(file, await parseHeader(bytes, file.size, path, options?.signal), bytes);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Opens `path`, runs `use` and closes the file. */
  static async with<Result>(
    path: string,
    use: (file: SafetensorsFile) => Promise<Result>,
    options?: OpenOptions,
  ): Promise<Result> {
    const file = await SafetensorsFile.open(path, options);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }

  get path(): string {
    return this.file.path;
  }

  get size(): number {
    return this.file.size;
  }

  /** What the file was when it was opened. */
  get identity(): string {
    return this.file.identity;
  }

  /** When the file was last written, in nanoseconds since 1970. */
  get modified(): bigint {
    return this.file.modified;
  }

  /** By name, in the order in which their bytes lie. */
  get tensors(): ReadonlyMap<string, TensorEntry> {
    return this.header.tensors;
  }

  get metadata(): ReadonlyMap<string, string> {
    return this.header.metadata;
  }

  tensor(name: string): TensorEntry {
    const tensor = this.tensors.get(name);
    if (!tensor)
      throw new VertexqError('ERR_VERTEXQ_SAFETENSORS', `${this.path} has no tensor ${describe(name)}`);
    return tensor;
  }

  /**
   * The bytes of a tensor, or of its rows [begin, end) along the first dimension. Rejects with a RangeError for other rows,
   * ERR_VERTEXQ_FILE, ERR_VERTEXQ_MEMORY.
   */
  async read(name: string, begin?: number, end?: number): Promise<Uint8Array<ArrayBuffer>> {
    const { position, length } = this.rangeOf(name, begin, end);
    const target = allocate(length, `tensor ${describe(name)} of ${this.path}`);
    await this.file.fill(target, position);
    return target;
  }

  /** The same in shared memory, for native jobs. */
  async readShared(name: string, begin?: number, end?: number): Promise<Shared> {
    const { position, length } = this.rangeOf(name, begin, end);
    return this.file.readShared(position, length);
  }

  private rangeOf(name: string, begin = 0, end?: number): { position: number; length: number } {
    const { byteLength, shape, position } = this.tensor(name);
    const rows = shape[0] ?? 1;
    const last = end ?? rows;
    if (!(begin >= 0 && begin <= last && last <= rows))
      throw new RangeError(
        `Tensor ${describe(name)} of ${this.path} has ${rows} rows, not ${begin} to ${last}`,
      );
    if (begin === 0 && last === rows) return { position, length: byteLength };
    const rowBytes = byteLength / rows;
    if (!Number.isInteger(rowBytes))
      throw new RangeError(`The rows of tensor ${describe(name)} of ${this.path} are no whole bytes`);
    return { position: position + begin * rowBytes, length: (last - begin) * rowBytes };
  }

  /** Fills `target` from `position` in the file: for those who keep their memory. Rejects with ERR_VERTEXQ_FILE. */
  async fill(target: Uint8Array, position: number): Promise<void> {
    await this.file.fill(target, position);
  }

  /** Rejects with ERR_VERTEXQ_FILE if the file has been written since it was opened. */
  async requireUnchanged(): Promise<void> {
    await this.file.requireUnchanged();
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
