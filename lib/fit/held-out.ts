/** How many of `count` samples, rows or batches to hold out: at least one where there are two, and never all. */
export function heldOutCount(count: number, share: number): number {
  if (share === 0) return 0;
  return Math.max(Math.min(Math.round(count * share), count - 1), Math.min(1, count - 1));
}

/**
 * Which of `count` are held out when `held` of them are: evenly spread, beginning half a step in. To be called for one after the other.
 */
export function spread(held: number, count: number): () => boolean {
  let sum = Math.floor(count / 2);
  return () => {
    sum += held;
    if (sum < count) return false;
    sum -= count;
    return true;
  };
}
