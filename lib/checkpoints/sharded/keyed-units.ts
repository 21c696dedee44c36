import { type ShardPlan, unitKey } from '../plan';
import type { Unit } from '../units';
import type { OpenPlan } from './with-plan';

/** A unit of a plan with all that is known of it. */
export interface KeyedUnit {
  plan: ShardPlan;
  unit: Unit;
  /** What the journal of a run calls it, and its result. */
  journalKey: string;
  key: string;
}

/** All units, as they stand in the plan. */
export function* keyedUnits({ plan: { units }, prepared }: OpenPlan): Generator<KeyedUnit> {
  let next = 0;
  for (const plan of prepared.plan.shards)
    for (const [i, unit] of plan.units.entries())
      yield { plan, unit, journalKey: unitKey(plan, i), key: units[next++]!.key };
}
