import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { LayoutBuilder } from '../laid-out';
import { nameTwice } from '../safetensors/layout';
import { typeIdOf } from './block-types';
import { maxHeaderBytes } from './cursor';
import { text, u32, u64 } from './values';

/** Bytes that every tensor's place is a multiple of, where no key says otherwise. */
export const defaultAlignment = 32;
const version = 3;
/** Bytes of a name that ggml has room for, the zero at its end left out. */
const mostNameBytes = 63;

/** Bytes before the keys, and of what a header has of a tensor. */
const beginBytes = 24;
const toldBytes = (name: string, shape: readonly number[]) => 24 + Buffer.byteLength(name) + 8 * shape.length;

/** Lays out a file's tensors in the order given: all places are known before any data. */
export class GgufLayout {
  private readonly told: Uint8Array[] = [];
  private toldSize = 0;
  private readonly names = new Set<string>();
  /** All tensors, with zeros between them and after the last one. */
  readonly data = new LayoutBuilder();

  constructor(private readonly alignment = defaultAlignment) {}

  /** Where a tensor begins, after the header. Throws ERR_VERTEXQ_FORMAT where readers would have no room for its name, and a RangeError at a name that was there. */
  place(name: string, dtype: string, shape: readonly number[], byteLength: number): number {
    if (this.names.has(name)) throw nameTwice(name);
    this.names.add(name);
    if (Buffer.byteLength(name) > mostNameBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_FORMAT',
        `the name of tensor ${describe(name)} takes ${Buffer.byteLength(name)} bytes, and a GGUF file has room for ${mostNameBytes}`,
      );
    const begin = this.data.place(byteLength);
    this.data.align(this.alignment);
    const dims = [...shape].reverse().map(u64);
    this.told.push(text(name), u32(shape.length), ...dims, u32(typeIdOf(dtype)), u64(begin));
    this.toldSize += toldBytes(name, shape);
    return begin;
  }

  /** Bytes of the file, whose keys take so many; `more`: with one tensor more. */
  sizeWith(keyBytes: number, more?: { name: string; shape: readonly number[]; byteLength: number }): number {
    const aligned = (size: number) => Math.ceil(size / this.alignment) * this.alignment;
    const head = beginBytes + keyBytes + this.toldSize + (more ? toldBytes(more.name, more.shape) : 0);
    return aligned(head) + this.data.size + aligned(more?.byteLength ?? 0);
  }

  /** All before the data, in pieces. `keys`: as they lie in a file. Throws ERR_VERTEXQ_FORMAT where they are too long. */
  head(keys: readonly Uint8Array[]): Uint8Array[] {
    const begin = [Buffer.from('GGUF'), u32(version), u64(this.names.size), u64(keys.length)];
    const head = new LayoutBuilder();
    for (const piece of [...begin, ...keys, ...this.told]) head.add(piece);
    if (head.size > maxHeaderBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_FORMAT',
        `the header of ${this.names.size} tensors takes ${head.size} bytes, and at most ${maxHeaderBytes} are allowed`,
      );
    head.align(this.alignment);
    return head.known.map(({ bytes }) => bytes);
  }
}
