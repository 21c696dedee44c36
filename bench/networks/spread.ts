/** `count` of the items, evenly spread, or all of them. */
export function spread<Item>(items: readonly Item[], count: number): Item[] {
  const taken = Math.min(count, items.length);
  return Array.from({ length: taken }, (_, i) => items[Math.floor((i * items.length) / taken)]!);
}

/** Every second item is for the fit, the others judge. */
export function halves<Item>(items: readonly Item[]): { fit: Item[]; judge: Item[] } {
  return { fit: items.filter((_, i) => i % 2 === 0), judge: items.filter((_, i) => i % 2 === 1) };
}
