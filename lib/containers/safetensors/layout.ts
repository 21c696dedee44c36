import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { Pieces } from '../../files/pieces';
import type { TensorEntry } from '../tensor-file';
import { alignmentOf } from './dtypes';
import { maxHeaderBytes, prefixBytes } from './header';

/** Data begins at a multiple of this, so that it can be used where it lies. */
const alignment = 8;

/** Among the tensors of a file: those with wider elements, which are of a lower rank, lie before others. */
export type Rank = 0 | 1 | 2 | 3;
export const ranks: readonly Rank[] = [0, 1, 2, 3];

/** The rank of a dtype: by whether its elements take 8 bytes, 4, 2 or 1. */
export function rankOf(dtype: string): Rank {
  return (3 - Math.log2(alignmentOf(dtype))) as Rank;
}

/** What a tensor is, as the header tells it, and where that puts it. */
export interface TensorKind {
  rank: Rank;
  /** Its dtype and shape in the header's JSON. */
  told: string;
}

export const toldOf = (dtype: string, shape: readonly number[]) =>
  `{"dtype":${JSON.stringify(dtype)},"shape":[${shape.join(',')}]`;

export function kindOf(dtype: string, shape: readonly number[]): TensorKind {
  return { rank: rankOf(dtype), told: toldOf(dtype, shape) };
}

/**
 * Lays out a file's tensors, those with the widest elements first, so that all are aligned; else in the order given. They are given twice
 * in the same order: `count` of each, then `place`. Nothing is kept of one but its bytes in the header.
 */
export class FileLayout {
  private readonly bytes = ranks.map(() => 0);
  private next: number[] | undefined;
  private readonly headers = ranks.map(() => new Pieces());
  private tensors = 0;

  /** Throws ERR_VERTEXQ_FORMAT where it has no length. */
  count(name: string, dtype: string, shape: readonly number[], byteLength: number | undefined): void {
    const rank = rankOf(dtype);
    this.tensors++;
    this.bytes[rank]! += byteLength ?? NaN;
    if (!Number.isSafeInteger(this.bytes[0]! + this.bytes[1]! + this.bytes[2]! + this.bytes[3]!))
      throw new VertexqError(
        'ERR_VERTEXQ_FORMAT',
        `tensor ${describe(name)}, ${dtype} [${shape.join(', ')}], has no length that can be written`,
      );
  }

  /** Where the tensor begins, after the header. */
  place(name: string, { rank, told }: TensorKind, byteLength: number): number {
    let sum = 0;
    this.next ??= this.bytes.map((bytes) => (sum += bytes) - bytes);
    const begin = this.next[rank]!;
    const end = (this.next[rank] = begin + byteLength);
    this.headers[rank]!.add(`,${JSON.stringify(name)}:${told},"data_offsets":[${begin},${end}]}`);
    return begin;
  }

  /** The header with its length, in pieces. Throws ERR_VERTEXQ_FORMAT where it is too long. */
  head(metadata: ReadonlyMap<string, string>): Uint8Array[] {
    const first = new Pieces();
    if (metadata.size > 0)
      first.add(
        `,"__metadata__":{${[...metadata].map((entry) => entry.map((text) => JSON.stringify(text)).join(':')).join(',')}}`,
      );
    const pieces = [first, ...this.headers].flatMap((header) => header.bytes());
    const begin = Buffer.alloc(prefixBytes + 1, '{');
    // Every member has a comma before it, and the first one must not.
    if (pieces[0]) pieces[0] = pieces[0].subarray(1);
    const textLength = pieces.reduce((sum, piece) => sum + piece.length, 0) + 2;
    const length = Math.ceil(textLength / alignment) * alignment;
    if (length > maxHeaderBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_FORMAT',
        `the header of ${this.tensors} tensors takes ${length} bytes, and at most ${maxHeaderBytes} are allowed`,
      );
    begin.writeBigUInt64LE(BigInt(length));
    return [begin, ...pieces, Buffer.from('}'.padEnd(length - textLength + 1))];
  }

  /** Bytes of all tensors. */
  get size(): number {
    return this.bytes.reduce((sum, bytes) => sum + bytes, 0);
  }
}

/** Lays out a file of the same tensors as another, with metadata of its own: its head, and where each tensor begins after that. */
export function layOutAgain(
  tensors: ReadonlyMap<string, TensorEntry>,
  metadata: ReadonlyMap<string, string>,
): { head: Uint8Array[]; places: number[]; size: number } {
  const layout = new FileLayout();
  for (const [name, { dtype, shape, byteLength }] of tensors) layout.count(name, dtype, shape, byteLength);
  const places = [...tensors].map(([name, { dtype, shape, byteLength }]) =>
    layout.place(name, kindOf(dtype, shape), byteLength),
  );
  return { head: layout.head(metadata), places, size: layout.size };
}

export const nameTwice = (name: string) =>
  new RangeError(
    `Two things in one file would be called ${describe(name)}: tensors of a file have names of their own`,
  );
