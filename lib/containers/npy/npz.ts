import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { allocate, InputFile, requireMemory } from '../../files/input-file';
import { parseNpy, readAs, requireSize, type NpyArray } from './npy';
import { npyHeaderEnd, npyPreamble, parseNpyHeader } from './npy-header';
import { ZipArchive, type ZipEntry } from './zip';

/** What is asked of a file of arrays before memory is taken for them. */
export interface ArrayChecks {
  /** Throws where the names, without `.npy`, are not those that are wanted. */
  names?: (names: readonly string[]) => void;
  /** Throws where an array of these dims and type is not what is wanted under this name. */
  array?: (name: string, dims: readonly number[], type: string) => void;
  signal?: AbortSignal | undefined;
}

/**
 * Reads a NumPy `.npz` file: its arrays by name, without `.npy`, in the file's order. Names are looked at before anything is
 * inflated, sizes against what memory there is, and what each entry says of its size against its array's header before memory is
 * taken for it.
 *
 * Rejects with ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_NPZ where it is no sound archive of arrays,
 * ERR_VERTEXQ_NPY at a broken array, ERR_VERTEXQ_MEMORY where the arrays do not fit into memory, and with what the checks throw.
 */
export function readNpz(path: string, checks: ArrayChecks = {}): Promise<Map<string, NpyArray>> {
  return InputFile.with(path, async (file) => {
    const archive = await ZipArchive.open(file);
    const { entries } = archive;
    if (entries.length === 0) throw new VertexqError('ERR_VERTEXQ_NPZ', `${path}: has no arrays`);
    for (const { name } of entries)
      if (!name.endsWith('.npy'))
        throw new VertexqError(
          'ERR_VERTEXQ_NPZ',
          `${path}: the entry ${describe(name)} is no array: expected names that end in ".npy"`,
        );
    checks.names?.(entries.map(({ name }) => nameOf(name)));
    // The largest is there twice while it is put into another order or type.
    const largest = entries.reduce((most, { size }) => Math.max(most, size), 0);
    requireMemory(entries.reduce((sum, { size }) => sum + size, 0) + largest, path);
    const arrays = new Map<string, NpyArray>();
    for (const entry of entries)
      arrays.set(nameOf(entry.name), await readArray(archive, entry, file.path, checks));
    return arrays;
  });
}

/** An array's name. */
function nameOf(entry: string): string {
  return entry.slice(0, -4);
}

async function readArray(
  archive: ZipArchive,
  entry: ZipEntry,
  path: string,
  checks: ArrayChecks,
): Promise<NpyArray> {
  const where = `${path}: ${describe(entry.name)}`;
  let head = new Uint8Array();
  let array: Uint8Array | null = null;
  let filled = 0;
  await archive.read(entry, (piece) => {
    checks.signal?.throwIfAborted();
    if (array === null) {
      head = head.length === 0 ? (piece as Uint8Array<ArrayBuffer>) : Buffer.concat([head, piece]);
      if (head.length < npyPreamble || head.length < npyHeaderEnd(head, where)) return;
      const header = parseNpyHeader(head, where);
      requireSize(header, entry.size, where);
      checks.array?.(nameOf(entry.name), header.dims, readAs(header.format.type));
      array = allocate(entry.size, where);
      piece = head;
    }
    array.set(piece, filled);
    filled += piece.length;
  });
  // An entry that ends within its header has not got that far.
  return parseNpy(array ?? head, where, checks.signal);
}
