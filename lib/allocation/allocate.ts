import { VertexqError } from '../errors';
import { Turns } from '../yielding';
import { hullOf, relaxed } from './hull';
import { improved } from './improve';
import type { Candidate } from './candidate';

// What to take for each of many layers, so that all of it fits and costs the least: the multiple-choice knapsack problem (Sinha & Zoltners 1979;
// Kellerer, Pferschy & Pisinger, Knapsack Problems, 2004, chapter 11). It knows neither layers nor widths.

/** One candidate for each item. */
export interface Allocation {
  /** By item, the place of what is taken among its candidates. */
  choices: number[];
  bytes: number;
  cost: number;
  /** No choice that fits costs less. */
  bound: number;
  /** By how much, at the most, this one costs more than the best: `cost` − `bound`; 0 where it is known to be the best. */
  gap: number;
}

/**
 * The candidates of all items with the least sum of costs whose bytes are `budget` at the most; of equal costs, fewer bytes. The bound is that of the Lagrangian relaxation, whose multiplier the
 * convex hulls of the items' candidates give; the gap below it is closed by dynamic programming over the states that may still be best, as long as these are few. Deterministic.
 * Rejects with a TypeError or RangeError at no items, an item without candidates, or numbers that are none of these; with ERR_VERTEXQ_BUDGET where even the smallest candidates take more; with the signal's reason.
 */
export async function allocate(
  items: readonly (readonly Candidate[])[],
  budget: number,
  signal?: AbortSignal,
): Promise<Allocation> {
  requireItems(items, budget);
  signal?.throwIfAborted();
  const turns = new Turns(signal);
  const hulls = items.map(hullOf);
  const least = hulls.reduce((sum, [smallest]) => sum + smallest!.bytes, 0);
  if (least > budget)
    throw new VertexqError(
      'ERR_VERTEXQ_BUDGET',
      `the smallest candidates take ${least} bytes, more than the budget of ${budget}`,
    );
  const { choices, multiplier, bound } = relaxed(hulls, budget);
  const found = await improved(items, budget, multiplier, choices, turns);
  const { bytes, cost } = totals(items, found.choices);
  const below = found.isBest ? cost : Math.min(bound, cost);
  return { choices: found.choices, bytes, cost, bound: below, gap: cost - below };
}

/** Bytes and cost of a choice. */
export function totals(items: readonly (readonly Candidate[])[], choices: readonly number[]): Candidate {
  let [bytes, cost] = [0, 0];
  for (const [i, choice] of choices.entries()) {
    bytes += items[i]![choice]!.bytes;
    cost += items[i]![choice]!.cost;
  }
  return { bytes, cost };
}

function requireItems(items: readonly (readonly Candidate[])[], budget: number): void {
  if (!(budget >= 0)) throw new RangeError(`Expected a budget of 0 bytes or more, not ${budget}`);
  if (items.length === 0) throw new RangeError('There is nothing to choose: expected an item or more');
  for (const [i, candidates] of items.entries()) {
    if (candidates.length === 0) throw new RangeError(`Item ${i} has no candidates`);
    for (const { bytes, cost } of candidates) {
      if (!Number.isSafeInteger(bytes) || bytes < 0)
        throw new RangeError(`Item ${i}: expected bytes to be a whole number from 0, not ${bytes}`);
      if (!(cost >= 0 && cost < Infinity))
        throw new RangeError(`Item ${i}: expected a cost to be a number from 0, not ${cost}`);
    }
  }
}
