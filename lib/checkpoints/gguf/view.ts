import { describe } from '../../options/messages';
import { namingMemory } from '../../errors';
import { type TensorEntry, TensorFile } from '../../containers/tensor-file';
import type { InputBytes } from '../../files/input-file';
import type { Rows } from './rows';

/** Rows made at a time, in bytes of what is made. */
const piece = 2 ** 22;

/** A tensor as it is to be seen. */
export interface Seen {
  name: string;
  shape: readonly number[];
  /** What it is made of. */
  rows: Rows;
  /** The file that `rows.position` is in. */
  file: TensorFile;
}

/** A tensor, and where it begins among all of a view. */
type Placed = Seen & { begin: number; length: number };

/** Tensors of files as another file would have them: under other names, of other types, with rows in another order. Made as they are read. */
export class ViewFile extends TensorFile {
  override readonly isMade = true;
  /** `sources`: the files that all of it comes from, which the view does not close; `size`: what reports have for its own, by default theirs. */
  constructor(
    path: string,
    seen: readonly Seen[],
    sources: readonly TensorFile[],
    readonly metadata: ReadonlyMap<string, string> = new Map(),
    size = sources.reduce((sum, file) => sum + file.size, 0),
  ) {
    const placed: Placed[] = [];
    const tensors = new Map<string, TensorEntry>();
    let at = 0;
    for (const one of seen) {
      const { name, shape, rows } = one;
      const length = rows.rows * rows.rowBytes;
      placed.push({ ...one, begin: at, length });
      tensors.set(name, { dtype: rows.dtype, shape, byteLength: length, position: at });
      at += length;
    }
    super(
      new ViewBytes(path, placed, sources, size),
      tensors,
      Buffer.concat(sources.map((file) => file.headerBytes)),
    );
  }
}

class ViewBytes implements InputBytes {
  constructor(
    readonly path: string,
    private readonly placed: readonly Placed[],
    private readonly sources: readonly TensorFile[],
    readonly size: number,
  ) {}

  get identity(): string {
    return this.sources.map(({ identity }) => identity).join(' ');
  }

  get modified(): bigint {
    return this.sources.reduce((last, { modified }) => (modified > last ? modified : last), 0n);
  }

  async fill(target: Uint8Array, position: number): Promise<void> {
    let done = 0;
    for (let i = this.indexAt(position); done < target.length; i++) {
      const { name, begin, length, rows, file } = this.placed[i]!;
      const from = position + done - begin;
      const part = target.subarray(done, done + Math.min(target.length - done, length - from));
      if (rows.position === undefined)
        await namingMemory(`${this.path}: tensor ${describe(name)}`, () => fillRows(part, from, rows));
      else await file.fill(part, rows.position + from);
      done += part.length;
    }
  }

  async requireUnchanged(): Promise<void> {
    for (const file of this.sources) await file.requireUnchanged();
  }

  async close(): Promise<void> {}

  /** The last tensor that begins at or before a position, of those with bytes. */
  private indexAt(position: number): number {
    let [low, high] = [0, this.placed.length - 1];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (this.placed[middle]!.begin <= position) low = middle;
      else high = middle - 1;
    }
    return low;
  }
}

/** Fills `target` from the bytes at `from` of what rows are. */
async function fillRows(target: Uint8Array, from: number, rows: Rows): Promise<void> {
  const { rowBytes } = rows;
  const step = Math.max(1, Math.floor(piece / rowBytes));
  for (let done = 0; done < target.length;) {
    const at = from + done;
    const first = Math.floor(at / rowBytes);
    const last = Math.min(first + step, Math.ceil((from + target.length) / rowBytes));
    const bytes = await rows.read(first, last);
    const part = bytes.subarray(at - first * rowBytes).subarray(0, target.length - done);
    target.set(part, done);
    done += part.length;
  }
}
