import type { BatchFacts, UnitFacts } from '../findings';
import type { Facts } from '../make-unit';
import { layerName } from '../planned-weight';
import { weightsOf } from '../round-batch';
import type { Unit } from '../units';
import type { LayerSums } from './types';

/** What a unit has found about layers. */
export function layerSumsOf(unit: Unit, facts: Facts): LayerSums[] {
  if (unit.kind === 'copy' || !facts) return [];
  if (unit.kind === 'batch') {
    const { sums } = facts as BatchFacts;
    return weightsOf(unit).map((weight, i) => ({
      ...{ name: layerName(weight), error: sums[3 * i]!, signal: sums[3 * i + 1]! },
      isFitted: false,
    }));
  }
  const found = facts as UnitFacts;
  const name = layerName(unit.weight);
  if (!('report' in found)) return [{ name, error: found.error, signal: found.signal, isFitted: false }];
  const { own } = found.report.error;
  const error = own.holdout ?? own.calibration;
  return error === null ? [] : [{ name, error: error ** 2, signal: 1, isFitted: true }];
}

/** Adds sums of the same layers, which stay in the order in which they were met first. */
export function joinedSums(all: Iterable<LayerSums>): LayerSums[] {
  const found = new Map<string, LayerSums>();
  for (const one of all) {
    const known = found.get(one.name);
    if (!known || one.isFitted) found.set(one.name, { ...one });
    else {
      known.error += one.error;
      known.signal += one.signal;
    }
  }
  return [...found.values()];
}
