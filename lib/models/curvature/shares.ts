/** What was found of a layer: the part that it has in how far a network is from another, with the variance of that, and the part that was foretold. */
export interface FoundPart {
  name: string;
  part: number;
  /** Infinity where it is not known. */
  variance: number;
  foretold: number;
}

/** A kind with fewer layers is told by all. */
const fewAlike = 3;
/** Nothing is left of no layer. */
const leastShare = 0.02;

/**
 * What is left of what was foretold, by layer: part / foretold, drawn towards that of the layers of its kind by as much as these are uncertain (empirical Bayes: Efron & Morris 1973; how far layers of a kind differ is
 * estimated by moments as DerSimonian & Laird 1986 do). Layers are of one kind whose names differ in numbers only.
 */
export function sharesOf(found: readonly FoundPart[]): number[] {
  const known = found.filter(({ foretold, part }) => foretold > 0 && Number.isFinite(part));
  const kinds = new Map<string, FoundPart[]>();
  for (const one of known) kinds.set(kindOf(one), [...(kinds.get(kindOf(one)) ?? []), one]);
  const all = spreadOf(known);
  const spreads = new Map(
    [...kinds].map(([kind, own]) => [kind, own.length < fewAlike ? all : spreadOf(own)]),
  );
  const isKnown = new Set(known);
  return found.map((one) => {
    const { mean, own } = spreads.get(kindOf(one)) ?? all;
    const off = isKnown.has(one) && own > 0 ? one.part / one.foretold - mean : 0;
    return Math.max(leastShare, mean + own * off);
  });
}

const kindOf = ({ name }: FoundPart) => name.replace(/\d+/g, '#');

/** The share of all of them, and the weight that each one's own has beside it: one variance for all, as that of each is known by few samples. */
function spreadOf(found: readonly FoundPart[]): { mean: number; own: number } {
  const sum = (of: (one: FoundPart) => number) => found.reduce((total, one) => total + of(one), 0);
  const total = sum(({ foretold }) => foretold);
  if (total === 0) return { mean: 1, own: 0 };
  const mean = sum(({ part }) => part) / total;
  const within = sum(({ variance, foretold }) => variance / foretold ** 2) / found.length;
  const square = sum(({ part, foretold }) => (part / foretold - mean) ** 2) / found.length;
  return { mean, own: square > within ? (square - within) / square : 0 };
}
