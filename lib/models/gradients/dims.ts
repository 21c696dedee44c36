// Dimensions that are known as products of others: what a Reshape of unknown lengths gives is often one of them again.

/** A number, or a product of a number and symbols for lengths that are not known, e.g. "4·a·b". */
export type Dim = number | string;

const parse = (dim: Dim): { factor: number; symbols: string[] } => {
  if (typeof dim === 'number') return { factor: dim, symbols: [] };
  const parts = dim.split('·');
  const isNumber = /^\d+$/.test(parts[0]!);
  return { factor: isNumber ? Number(parts[0]) : 1, symbols: isNumber ? parts.slice(1) : parts };
};

function format(factor: number, symbols: readonly string[]): Dim {
  if (symbols.length === 0 || factor === 0) return factor;
  return [...(factor === 1 ? [] : [factor]), ...symbols].join('·');
}

export function product(dims: readonly Dim[]): Dim {
  const parsed = dims.map(parse);
  return format(
    parsed.reduce((sum, { factor }) => sum * factor, 1),
    parsed.flatMap(({ symbols }) => symbols).sort(),
  );
}

/** undefined where it is not known to be whole. */
export function quotient(dim: Dim, by: Dim): Dim | undefined {
  const [above, below] = [parse(dim), parse(by)];
  const left = [...above.symbols];
  for (const symbol of below.symbols) {
    const place = left.indexOf(symbol);
    if (place < 0) return undefined;
    left.splice(place, 1);
  }
  const factor = above.factor / below.factor;
  return Number.isSafeInteger(factor) ? format(factor, left) : undefined;
}

/** What two dimensions become beside each other; undefined where that is not known. */
export function together(a: Dim, b: Dim): Dim | undefined {
  if (a === b || b === 1) return a;
  if (a === 1) return b;
  return [a, b].find((dim) => typeof dim === 'number');
}
