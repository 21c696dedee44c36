import { type Shared, sharedBytes } from './shared';

/** Below this a buffer is not worth keeping. */
const smallest = 2 ** 16;
/** From here on one buffer is much of all memory, and has just the size that is asked for. */
const largest = 2 ** 26;

/** Where each buffer comes from. */
const origins = new WeakMap<ArrayBufferLike, Buffers>();

/**
 * Memory that is used again and again: left to the garbage collector, gigabytes of buffers would wait for it. What a buffer held before is
 * still in it.
 */
export class Buffers {
  private readonly free = new Map<number, Shared[]>();

  /** The first `length` bytes of a kept buffer, or of a new one. */
  take(length: number): Shared {
    const size = sizeFor(length);
    const kept = this.free.get(size)?.pop() ?? sharedBytes(size);
    origins.set(kept.buffer, this);
    return kept.subarray(0, length);
  }

  /** Gives back what `take` gave. Nobody may use it any more. */
  give({ buffer }: Shared): void {
    const size = buffer.byteLength;
    if (size < smallest || size > largest) return;
    const list = this.free.get(size) ?? [];
    list.push(new Uint8Array(buffer));
    this.free.set(size, list);
  }
}

/** Memory as `take` gives it from where that of another array was taken; undefined where that was not. */
export const takeLike = ({ buffer }: ArrayBufferView, length: number): Shared | undefined =>
  origins.get(buffer)?.take(length);

/** Has the memory of an array used again, if it was taken. Nobody may use it any more. */
export const giveBack = ({ buffer }: ArrayBufferView): void =>
  origins.get(buffer)?.give(new Uint8Array(buffer as SharedArrayBuffer));

/** Bytes of the buffer that `length` bytes get. */
export function sizeFor(length: number): number {
  if (length > largest) return length;
  return Math.max(smallest / 16, 2 ** Math.ceil(Math.log2(Math.max(1, length))));
}
