import { VertexqError } from '../../errors';
import { type InputBytes, InputFile, type OpenOptions, requireMemory } from '../../files/input-file';
import type { TypedArray } from '../../native/tensors';
import { describe } from '../../options/messages';
import { type TensorEntry, TensorFile } from '../tensor-file';
import { npyError, type NpyHeader, npyHeaderEnd, npyPreamble, parseNpyHeader } from './npy-header';
import { ZipArchive, type ZipEntry } from './zip';

export type NpyData = TypedArray;

/**
 * NumPy's arrays as tensors, open for reading, of dtypes that are called as in safetensors files. Of those in Fortran order the shape is
 * `reversed`: so they lie.
 */
export class ArrayFile extends TensorFile {
  private constructor(
    file: InputBytes,
    headers: ReadonlyMap<string, NpyHeader>,
    headerBytes: Uint8Array,
    positionOf: (name: string, header: NpyHeader) => number,
  ) {
    const tensors = new Map<string, TensorEntry>();
    for (const [name, header] of headers) {
      const { format, dims, fortran, offset, end } = header;
      const shape = fortran ? [...dims].reverse() : dims;
      const place = { byteLength: end - offset, position: positionOf(name, header) };
      tensors.set(name, { dtype: format.dtype, shape, ...place });
    }
    super(file, tensors, headerBytes);
    this.reversed = new Set([...headers].flatMap(([name, { fortran }]) => (fortran ? [name] : [])));
  }

  override readonly reversed: ReadonlySet<string>;

  /**
   * Opens a `.npz` file, or a `.npy` file, whose array has no name of its own and gets `name`. The headers are checked against the file's
   * size. Rejects with ERR_VERTEXQ_FILE; ERR_VERTEXQ_NPZ where it is no sound archive of arrays; ERR_VERTEXQ_NPY. It is for the caller to
   * close.
   */
  static async open(path: string, name: string, options?: OpenOptions): Promise<ArrayFile> {
    const file = await InputFile.open(path, options);
    try {
      return await (/\.npz$/i.test(path)
        ? ArrayFile.inArchive(file, options?.signal)
        : ArrayFile.alone(file, name));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** The array of a `.npy` file. */
  static async alone(file: InputBytes, name: string): Promise<ArrayFile> {
    const beginning = async (length: number) => {
      const bytes = new Uint8Array(Math.min(file.size, length));
      await file.fill(bytes, 0);
      return bytes;
    };
    const headerEnd = npyHeaderEnd(await beginning(npyPreamble), file.path);
    const bytes = await beginning(Math.max(npyPreamble, headerEnd));
    const header = parseNpyHeader(bytes, file.path);
    requireSize(header, file.size, file.path);
    return new ArrayFile(file, new Map([[name, header]]), bytes, (_, { offset }) => offset);
  }

  private static async inArchive(file: InputFile, signal: AbortSignal | undefined): Promise<ArrayFile> {
    const archive = await ZipArchive.open(file);
    const bad = (why: string) => new VertexqError('ERR_VERTEXQ_NPZ', `${file.path}: ${why}`);
    if (archive.entries.length === 0) throw bad('has no arrays');
    const other = archive.entries.find(({ name }) => !name.endsWith('.npy'));
    if (other) throw bad(`the entry ${describe(other.name)} is no array: expected names that end in ".npy"`);
    // Before anything is inflated.
    requireMemory(
      archive.entries.reduce((sum, { size }) => sum + size, 0),
      file.path,
    );
    const headers = new Map<string, NpyHeader>();
    const heads: Uint8Array[] = [];
    const arrays: ArchivedArray[] = [];
    let begin = 0;
    for (const entry of archive.entries) {
      const where = `${file.path}: ${describe(entry.name)}`;
      const head = await headOf(archive, entry, where);
      const header = parseNpyHeader(head, where);
      requireSize(header, entry.size, where);
      headers.set(entry.name.slice(0, -'.npy'.length), header);
      heads.push(head.subarray(0, header.offset));
      arrays.push({ entry, begin, offset: header.offset });
      begin += header.end - header.offset;
    }
    const begins = arrays.values();
    const bytes = new ArchiveBytes(file, archive, arrays, signal);
    return new ArrayFile(bytes, headers, Buffer.concat(heads), () => begins.next().value!.begin);
  }
}

/** The beginning of an entry, up to the end of its header at least; all of it where it ends before. */
async function headOf(archive: ZipArchive, entry: ZipEntry, where: string): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array();
  await archive.read(entry, (piece) => {
    head = head.length === 0 ? piece : Buffer.concat([head, piece]);
    return head.length < npyPreamble || head.length < npyHeaderEnd(head, where);
  });
  return head;
}

/** Throws ERR_VERTEXQ_NPY unless a file of `size` bytes is exactly what its header says. */
function requireSize(header: NpyHeader, size: number, file: string): void {
  if (size === header.end) return;
  const shape = `the shape (${header.dims.join(', ')}) of ${header.format.type}`;
  throw npyError(
    file,
    size < header.end
      ? `truncated: ${shape} needs ${header.end} bytes with its header, the file has ${size}`
      : `${size - header.end} bytes follow the data: ${shape} ends at byte ${header.end}`,
  );
}

/** An array of an archive: its data begins at `begin` of all data, and at `offset` of its entry. */
interface ArchivedArray {
  entry: ZipEntry;
  begin: number;
  offset: number;
}

/** The data of an archive's arrays, one behind the other. Entries are inflated as a whole, whatever is asked of them. */
class ArchiveBytes implements InputBytes {
  constructor(
    private readonly file: InputFile,
    private readonly archive: ZipArchive,
    private readonly arrays: readonly ArchivedArray[],
    private readonly signal: AbortSignal | undefined,
  ) {}

  get path(): string {
    return this.file.path;
  }

  get size(): number {
    return this.file.size;
  }

  get modified(): bigint {
    return this.file.modified;
  }

  get identity(): string {
    return this.file.identity;
  }

  /** Rejects with ERR_VERTEXQ_NPZ where an entry is damaged, ERR_VERTEXQ_FILE; with the signal's reason. */
  async fill(target: Uint8Array, position: number): Promise<void> {
    const end = position + target.length;
    for (const { entry, begin, offset } of this.arrays) {
      if (begin >= end || begin + entry.size - offset <= position) continue;
      let at = begin - offset;
      await this.archive.read(entry, (piece) => {
        this.signal?.throwIfAborted();
        const [from, to] = [Math.max(at, begin, position), Math.min(at + piece.length, end)];
        if (from < to) target.set(piece.subarray(from - at, to - at), from - position);
        at += piece.length;
        return true;
      });
    }
  }

  requireUnchanged(): Promise<void> {
    return this.file.requireUnchanged();
  }

  close(): Promise<void> {
    return this.file.close();
  }
}
