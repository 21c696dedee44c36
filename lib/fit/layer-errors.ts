import { plural } from '../reports/units';
import type { Errors, LayerReport } from '../types';
import { warn, type Warning } from '../warning-codes';

/** A report's errors; `told`: on each kind of rows against float where that was measured, and else own. */
export const layerErrors = (
  own: Errors,
  againstFloat: Errors | null,
  weight: number,
  told = againstFloat ?? own,
): LayerReport['error'] => ({
  own,
  againstFloat,
  weight,
  ...{ calibration: told.calibration, holdout: told.holdout },
});

/**
 * What is said of weights that have become 0: of all of a matrix, which is an error of 1, as with any scale that is stored as it was meant to
 * be it is less; else of the groups that have.
 */
export function zeroWarnings(
  weightError: number,
  zeroedGroups: number,
  [rows, cols]: readonly [number, number],
  groupSize: number,
): Warning[] {
  if (Math.abs(weightError - 1) <= 1e-9)
    return [
      warn(
        'WARN_VERTEXQ_ALL_ZERO',
        `All weights (${plural(rows, 'row')} of ${cols}) have become 0: they are too small for the scales that this format stores.`,
      ),
    ];
  if (zeroedGroups === 0) return [];
  const each = Math.min(groupSize, cols);
  const all = rows * Math.ceil(cols / each);
  const what = each === cols ? 'rows' : 'groups';
  return [
    warn(
      'WARN_VERTEXQ_ZERO_GROUPS',
      `${zeroedGroups} of ${plural(all, what.slice(0, -1))} of ${each} weights ${zeroedGroups === 1 ? 'has' : 'have'} become all 0: ${zeroedGroups === 1 ? 'its' : 'their'} weights are too small for the scales that this format stores, or the data does not reach them.`,
    ),
  ];
}

export const noErrors: Errors = { calibration: null, holdout: null };

/** Bits that each of a layer's weights takes as it is stored: codes, scales, zero points and what fills them up. */
export const storedBits = (bytes: number, [outFeatures, inFeatures]: readonly [number, number]): number =>
  (8 * bytes) / (outFeatures * inFeatures);
