/** Works on so many items at a time, which it takes in their order. Rejects with what went wrong first, after all that was on its way has ended. */
export async function atOnce<Item>(
  items: Iterable<Item>,
  count: number,
  work: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  let next = 0;
  let failure: { reason: unknown } | undefined;
  const worker = async () => {
    while (!failure) {
      const found = queue.next();
      if (found.done) return;
      await work(found.value, next++).catch((reason: unknown) => {
        failure ??= { reason };
      });
    }
  };
  await Promise.all(Array.from({ length: count }, worker));
  if (failure) throw failure.reason;
}
