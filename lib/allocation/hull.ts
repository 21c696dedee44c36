import type { Candidate } from './candidate';

/** A corner of the lower convex hull of an item's candidates over bytes: each takes more bytes than the one before, and costs less. */
export interface Corner extends Candidate {
  /** Among the item's candidates. */
  index: number;
}

/** What costs fall by for a byte between two corners. */
const slope = (from: Candidate, to: Candidate) => (from.cost - to.cost) / (to.bytes - from.bytes);

/** Candidates that no other beats in both, in the order of their bytes. */
export function undominated(candidates: readonly Candidate[]): Corner[] {
  const sorted = candidates
    .map(({ bytes, cost }, index) => ({ bytes, cost, index }))
    .sort((a, b) => a.bytes - b.bytes || a.cost - b.cost || a.index - b.index);
  const kept: Corner[] = [];
  for (const candidate of sorted)
    if (kept.length === 0 || candidate.cost < kept.at(-1)!.cost) kept.push(candidate);
  return kept;
}

/** The corners of the lower convex hull, from the smallest on: slopes fall. */
export function hullOf(candidates: readonly Candidate[]): Corner[] {
  const hull: Corner[] = [];
  for (const candidate of undominated(candidates)) {
    while (hull.length > 1 && slope(hull.at(-2)!, hull.at(-1)!) <= slope(hull.at(-1)!, candidate)) hull.pop();
    hull.push(candidate);
  }
  return hull;
}

/** The answer of the relaxation in which candidates may be mixed. */
export interface Relaxed {
  /** A choice that fits. */
  choices: number[];
  /** What a byte more would save, λ: the Lagrangian's multiplier. */
  multiplier: number;
  /** max over λ of Σ min (cost + λ·bytes) − λ·budget, which is what the mixed answer costs. */
  bound: number;
}

/** From the smallest candidates on, steps along the hulls are taken in the order of their slopes as long as they fit. */
export function relaxed(hulls: readonly (readonly Corner[])[], budget: number): Relaxed {
  const at = hulls.map(() => 0);
  let bytes = hulls.reduce((sum, [corner]) => sum + corner!.bytes, 0);
  let cost = hulls.reduce((sum, [corner]) => sum + corner!.cost, 0);
  const steps = hulls
    .flatMap((hull, item) =>
      hull.slice(1).map((to, i) => ({
        ...{ item, corner: i + 1, slope: slope(hull[i]!, to) },
        ...{ bytes: to.bytes - hull[i]!.bytes, cost: to.cost - hull[i]!.cost },
      })),
    )
    .sort((a, b) => b.slope - a.slope || a.item - b.item || a.corner - b.corner);
  let broken: { multiplier: number; bound: number } | null = null;
  for (const step of steps) {
    const fits = bytes + step.bytes <= budget;
    broken ??= fits ? null : { multiplier: step.slope, bound: cost - step.slope * (budget - bytes) };
    // What comes behind may be small enough yet; of an item nothing is passed over.
    if (!fits || at[step.item] !== step.corner - 1) continue;
    at[step.item] = step.corner;
    bytes += step.bytes;
    cost += step.cost;
  }
  const choices = at.map((corner, item) => hulls[item]![corner]!.index);
  return { choices, ...(broken ?? { multiplier: 0, bound: cost }) };
}
