/** Below this nothing can be read. */
const leastHeap = 64;

/**
 * MiB of a task's heap where its process has room for so many bytes. Three quarters: what V8, the libraries and the results take beside
 * the heap needs room too, and without a limit below what there is the system would end whom it likes.
 */
export function heapWithin(most: number, room: number): number {
  return Math.min(most, Math.max(leastHeap, Math.floor((0.75 * room) / 2 ** 20)));
}
