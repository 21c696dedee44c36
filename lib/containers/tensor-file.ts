import { namingMemory, VertexqError } from '../errors';
import { allocate, type InputBytes, requireMemory } from '../files/input-file';
import { type Shared, sharedBytes } from '../native/shared';
import { describe } from '../options/messages';

/** A tensor as its file tells of it. */
export interface TensorEntry {
  dtype: string;
  shape: readonly number[];
  /** Bytes. */
  byteLength: number;
  /** Of its first byte, in the file. */
  position: number;
}

/**
 * A file of tensors open for reading, of whatever container: which there are is in memory, their numbers are read when they are asked for.
 * What they mean is not for a container to know.
 */
export abstract class TensorFile {
  protected constructor(
    private readonly file: InputBytes,
    /** By name, in the order in which their bytes lie. */
    readonly tensors: ReadonlyMap<string, TensorEntry>,
    /** All that tells every tensor's name, dtype, shape and place, as it lies in the file. */
    readonly headerBytes: Uint8Array,
  ) {}

  /** Tensors whose shapes are told as they lie, and meant the other way round: NumPy has such (Fortran order). */
  readonly reversed: ReadonlySet<string> = new Set();

  /** Whether it is made of others as it is read: what it says of places is true of no file. */
  readonly isMade: boolean = false;

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

  tensor(name: string): TensorEntry {
    const tensor = this.tensors.get(name);
    if (!tensor) throw new VertexqError('ERR_VERTEXQ_FILE', `${this.path} has no tensor ${describe(name)}`);
    return tensor;
  }

  /**
   * The bytes of a tensor, or of its rows [begin, end): all its dimensions but the last, or its first, count them. Rejects with a RangeError for other rows,
   * ERR_VERTEXQ_FILE, ERR_VERTEXQ_MEMORY.
   */
  async read(name: string, begin?: number, end?: number): Promise<Uint8Array<ArrayBuffer>> {
    const { position, length } = this.rangeOf(name, begin, end);
    const target = allocate(length, `tensor ${describe(name)} of ${this.path}`);
    await this.file.fill(target, position);
    return target;
  }

  /** The same in shared memory, for native jobs, where `room` gives it. */
  async readShared(
    name: string,
    begin?: number,
    end?: number,
    room: (length: number) => Shared = sharedBytes,
  ): Promise<Shared> {
    const { position, length } = this.rangeOf(name, begin, end);
    requireMemory(length, this.path);
    return namingMemory(`${this.path}: tensor ${describe(name)}`, async () => {
      const target = room(length);
      await this.file.fill(target, position);
      return target;
    });
  }

  private rangeOf(name: string, begin = 0, end?: number): { position: number; length: number } {
    const { byteLength, shape, position } = this.tensor(name);
    const rows = shape.slice(0, Math.max(1, shape.length - 1)).reduce((product, dim) => product * dim, 1);
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
