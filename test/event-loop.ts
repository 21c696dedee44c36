/** The longest that the event loop was held up while `action` ran, in milliseconds, and how long this took. */
export async function holdUps(action: () => Promise<unknown>): Promise<{ longest: number; total: number }> {
  const started = performance.now();
  let last = started;
  let longest = 0;
  const look = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const timer = setInterval(look, 1);
  await action().finally(() => clearInterval(timer));
  look();
  return { longest, total: performance.now() - started };
}

/**
 * Tries `action` until it holds the event loop up for less than `most` milliseconds or a `share` of its time: on a machine that others use too,
 * a part of the whole says more than milliseconds. What it took, where no try did.
 */
export async function holdsUp(
  action: () => Promise<unknown>,
  { most = 40, share = 0.5, tries = 6 } = {},
): Promise<string | null> {
  const taken: string[] = [];
  for (let i = 0; i < tries; i++) {
    const { longest, total } = await holdUps(action);
    if (longest < most || longest < share * total) return null;
    taken.push(`${longest.toFixed()} of ${total.toFixed()} ms`);
  }
  return taken.join(', ');
}
