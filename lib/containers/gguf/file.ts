import { basename } from 'node:path';
import { InputFile, type OpenOptions } from '../../files/input-file';
import { JoinedInput } from '../../files/joined-input';
import { describe } from '../../options/messages';
import { type TensorEntry, TensorFile } from '../tensor-file';
import { invalid } from './cursor';
import { type Header, readHeader } from './header';
import { mostParts, partOf, partPaths } from './parts';

/** A GGUF file, or all parts of one, open for reading. Only headers are in memory. Of parts, positions count the bytes of those before too. */
export class GgufFile extends TensorFile {
  private constructor(
    input: InputFile | JoinedInput,
    /** Of the first part, with the tensors of all. */
    readonly header: Header,
    headerBytes: Uint8Array,
    /** Its parts, the first one first. */
    readonly paths: readonly string[],
  ) {
    super(input, header.tensors, headerBytes);
  }

  /**
   * Opens `path`, any part of a file in parts, and checks all headers. Rejects with ERR_VERTEXQ_FILE or ERR_VERTEXQ_GGUF. It is for the
   * caller to close.
   */
  static async open(path: string, options?: OpenOptions): Promise<GgufFile> {
    // In the order of parts, the given one first until it is known which it is.
    let files: InputFile[] = [];
    const others: InputFile[] = [];
    try {
      const first = await opened(path, files, options);
      const paths = pathsOf(path, first.header);
      if (paths.length === 1) return new GgufFile(files[0]!, first.header, first.bytes, paths);
      const parts: Part[] = [];
      for (const own of paths)
        parts.push(basename(own) === basename(path) ? first : await opened(own, others, options));
      const place = parts.indexOf(first);
      files = [...others.slice(0, place), files[0]!, ...others.slice(place)];
      const joined = new JoinedInput(path, files);
      const bytes = Buffer.concat(parts.map((part) => part.bytes));
      return new GgufFile(joined, joinedHeader(parts, paths, joined), bytes, paths);
    } catch (error) {
      for (const file of new Set([...files, ...others])) await file.close();
      throw error;
    }
  }

  /** Opens `path`, runs `use` and closes the file. */
  static async with<Result>(
    path: string,
    use: (file: GgufFile) => Promise<Result>,
    options?: OpenOptions,
  ): Promise<Result> {
    const file = await GgufFile.open(path, options);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }

  /** A key as it lies in the file: its name, the type of its value, and that. */
  keyBytes(key: string): Uint8Array {
    return this.headerBytes.subarray(...this.header.places.get(key)!);
  }
}

interface Part {
  header: Header;
  bytes: Uint8Array;
}

async function opened(path: string, files: InputFile[], options: OpenOptions | undefined): Promise<Part> {
  const file = await InputFile.open(path, options);
  files.push(file);
  const header = await readHeader(file, options?.signal);
  return { header, bytes: await file.read(0, header.length) };
}

/** The parts of a file that says it has several, by the names that they must have. */
function pathsOf(path: string, { metadata }: Header): string[] {
  const count = metadata.get('split.count') ?? 1;
  if (count === 0 || count === 1) return [path];
  if (typeof count !== 'number' || count > mostParts)
    throw invalid(path, `"split.count" should be a number up to ${mostParts}, and is ${describe(count)}`);
  if (partOf(path)?.count !== count)
    throw invalid(
      path,
      `it is one of ${count} parts, which should be called …-00001-of-${String(count).padStart(5, '0')}.gguf and so on`,
    );
  return partPaths(path, count);
}

function joinedHeader(parts: readonly Part[], paths: readonly string[], joined: JoinedInput): Header {
  const tensors = new Map<string, TensorEntry>();
  for (const [i, { header }] of parts.entries()) {
    const path = paths[i]!;
    const [number, count] = [header.metadata.get('split.no'), header.metadata.get('split.count')];
    if (number !== i || count !== parts.length)
      throw invalid(
        path,
        `it should be part ${i} of ${parts.length} ("split.no", "split.count"), and says ${describe(number)} of ${describe(count)}`,
      );
    for (const [name, entry] of header.tensors) {
      if (tensors.has(name)) throw invalid(path, `tensor ${describe(name)} is in a part before it too`);
      tensors.set(name, { ...entry, position: joined.beginOf(i) + entry.position });
    }
  }
  const [{ header }] = parts as [Part];
  const told = header.metadata.get('split.tensors.count');
  if (told !== undefined && Number(told) !== tensors.size)
    throw invalid(
      paths[0]!,
      `"split.tensors.count" is ${describe(told)}, and its parts have ${tensors.size} tensors`,
    );
  return { ...header, tensors };
}
