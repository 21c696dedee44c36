import type { FittedFacts } from './fit-weight';
import type { PlannedWeight } from './planned-weight';

/** Sums of squares over some rows, and how long they took. */
export interface RowFacts {
  error: number;
  signal: number;
  /** Groups whose weights have all become 0. */
  zeroedGroups: number;
  seconds: number;
}

/** What a unit of a weight found. */
export type UnitFacts = RowFacts | FittedFacts;

/** What a batch found about its weights: three numbers of each, in order: the sums error and signal, and zeroed groups; and how long all of them took. */
export interface BatchFacts {
  sums: readonly number[];
  seconds: number;
}

/** Numbers that are kept of a small weight. */
const kept = 4;

/** What units found about weights. */
export class Findings {
  /** Of weights in batches: error, signal, zeroed groups, seconds. */
  private readonly small: Float64Array;
  /** Of others, what was found about rows from `row` on. */
  private readonly parts = new Map<PlannedWeight, { row: number; facts: UnitFacts }[]>();

  constructor(weights: number) {
    this.small = new Float64Array(kept * weights);
  }

  add(weight: PlannedWeight, row: number, facts: UnitFacts): void {
    const known = this.parts.get(weight);
    if (known) known.push({ row, facts });
    else this.parts.set(weight, [{ row, facts }]);
  }

  /** Of each weight of a batch an even part of the time. */
  addBatch(weights: readonly PlannedWeight[], { sums, seconds }: BatchFacts): void {
    for (const [i, { index }] of weights.entries())
      this.small.set([...sums.slice(3 * i, 3 * i + 3), seconds / weights.length], kept * index);
  }

  /** The sums are made in the order of the rows, whatever the order in which they were done. */
  of(weight: PlannedWeight): UnitFacts {
    const found = this.parts.get(weight);
    if (!found) {
      const [error, signal, zeroedGroups, seconds] = this.small.subarray(
        kept * weight.index,
        kept * (weight.index + 1),
      );
      return { error: error!, signal: signal!, zeroedGroups: zeroedGroups!, seconds: seconds! };
    }
    const all: RowFacts = { error: 0, signal: 0, zeroedGroups: 0, seconds: 0 };
    for (const { facts } of [...found].sort((a, b) => a.row - b.row)) {
      if ('report' in facts) return facts;
      all.error += facts.error;
      all.signal += facts.signal;
      all.zeroedGroups += facts.zeroedGroups;
      all.seconds += facts.seconds;
    }
    return all;
  }
}
