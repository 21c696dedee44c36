import { zipSync } from 'fflate';
import { VertexqError } from '../errors';
import { describe } from '../options';
import { allocate, InputFile, requireMemory } from './input-file';
import { formatNpy, parseNpy, requireSize, type NpyArray, type NpyData } from './npy';
import { npyHeaderEnd, npyPreamble, parseNpyHeader } from './npy-header';
import { readZipEntries, readZipEntry, type ZipEntry } from './zip';

/**
 * Reads a NumPy `.npz` file: its arrays by name, without `.npy`, in the file's order. What each entry says of its size is
 * checked against its array's header before memory is taken for it.
 *
 * Rejects with ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_NPZ where it is no sound archive of arrays,
 * ERR_VERTEXQ_NPY at a broken array, ERR_VERTEXQ_MEMORY where the arrays do not fit into memory.
 */
export function readNpz(path: string): Promise<Map<string, NpyArray>> {
  return InputFile.with(path, async (file) => {
    const entries = await readZipEntries(file);
    if (entries.length === 0) throw new VertexqError('ERR_VERTEXQ_NPZ', `${path}: has no arrays`);
    for (const { name } of entries)
      if (!name.endsWith('.npy'))
        throw new VertexqError(
          'ERR_VERTEXQ_NPZ',
          `${path}: the entry ${describe(name)} is no array: expected names that end in ".npy"`,
        );
    requireMemory(
      entries.reduce((sum, { size }) => sum + size, 0),
      path,
    );
    const arrays = new Map<string, NpyArray>();
    for (const entry of entries) arrays.set(entry.name.slice(0, -4), await readArray(file, entry));
    return arrays;
  });
}

async function readArray(file: InputFile, entry: ZipEntry): Promise<NpyArray> {
  const where = `${file.path}: ${describe(entry.name)}`;
  let head = new Uint8Array();
  let array: Uint8Array | null = null;
  let filled = 0;
  await readZipEntry(file, entry, (piece) => {
    if (array === null) {
      head = head.length === 0 ? (piece as Uint8Array<ArrayBuffer>) : Buffer.concat([head, piece]);
      if (head.length < npyPreamble || head.length < npyHeaderEnd(head, where)) return;
      requireSize(parseNpyHeader(head, where), entry.size, where);
      array = allocate(entry.size, where);
      piece = head;
    }
    array.set(piece, filled);
    filled += piece.length;
  });
  // An entry that ends within its header has not got that far.
  return parseNpy(array ?? head, where);
}

/** A `.npz` file of `arrays` by name, deflated unless `compress` is false. Throws TypeError and RangeError. */
export function formatNpz(
  arrays: ReadonlyMap<string, { data: NpyData; dims: readonly number[]; type?: string }>,
  { compress = true } = {},
): Uint8Array {
  const files = [...arrays].map(([name, array]) => [`${name}.npy`, formatNpy(array)] as const);
  // The earliest date that zip has: the same arrays give the same bytes.
  return zipSync(Object.fromEntries(files), { level: compress ? 6 : 0, mtime: new Date(1980, 0, 1) });
}
