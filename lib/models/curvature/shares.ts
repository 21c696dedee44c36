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
 * What is left of what was foretold, by layer: part / foretold, drawn towards that of the layers of its kind by as much as it is uncertain (empirical Bayes: Efron & Morris 1973; how far layers of a kind differ is
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
  return found.map((one) => {
    const { mean, between } = spreads.get(kindOf(one)) ?? all;
    const { part, variance, foretold } = one;
    const within = variance / foretold ** 2;
    // The weight of what was found of this layer by itself.
    const own =
      Number.isFinite(within) && foretold > 0 ? (between === 0 ? 0 : between / (between + within)) : 0;
    return Math.max(leastShare, own === 0 ? mean : mean + own * (part / foretold - mean));
  });
}

const kindOf = ({ name }: FoundPart) => name.replace(/\d+/g, '#');

/** The share of all of them, and the variance of theirs beyond what their uncertainty makes. */
function spreadOf(found: readonly FoundPart[]): { mean: number; between: number } {
  const sum = (of: (one: FoundPart) => number) => found.reduce((total, one) => total + of(one), 0);
  const total = sum(({ foretold }) => foretold);
  if (total === 0) return { mean: 1, between: 0 };
  const mean = sum(({ part }) => part) / total;
  const beyond = sum(({ part, variance, foretold }) => (part / foretold - mean) ** 2 - variance / foretold ** 2); // prettier-ignore
  return { mean, between: Number.isFinite(beyond) ? Math.max(0, beyond / found.length) : 0 };
}
