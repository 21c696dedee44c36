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
