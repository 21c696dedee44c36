import { type Shared, sharedBytes } from './shared';

/** Below this a buffer is not worth keeping. */
const smallest = 2 ** 16;
/** From here on one buffer is much of all memory, and has just the size that is asked for. */
const largest = 2 ** 26;

/**
 * Memory that is used again and again: left to the garbage collector, gigabytes of buffers would wait for it. What a buffer held before is
 * still in it.
 */
export class Buffers {
  private readonly free = new Map<number, Shared[]>();

  /** The first `length` bytes of a kept buffer, or of a new one. */
  take(length: number): Shared {
    const size = sizeFor(length);
    const kept = this.free.get(size)?.pop();
    return (kept ?? sharedBytes(size)).subarray(0, length);
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

/** Bytes of the buffer that `length` bytes get. */
export function sizeFor(length: number): number {
  if (length > largest) return length;
  return Math.max(smallest / 16, 2 ** Math.ceil(Math.log2(Math.max(1, length))));
}
