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
 * What is said of a matrix whose weights have all become 0, which is an error of 1: with any scale that is stored as it was meant to be it is
 * less.
 */
export function allZeroWarnings(weightError: number, [rows, cols]: readonly [number, number]): Warning[] {
  if (Math.abs(weightError - 1) > 1e-9) return [];
  return [
    warn(
      'WARN_VERTEXQ_ALL_ZERO',
      `All weights (${plural(rows, 'row')} of ${cols}) have become 0: they are too small for the scales that this format stores.`,
    ),
  ];
}

export const noErrors: Errors = { calibration: null, holdout: null };

/** Bits that each of a layer's weights takes as it is stored: codes, scales, zero points and what fills them up. */
export const storedBits = (bytes: number, [outFeatures, inFeatures]: readonly [number, number]): number =>
  (8 * bytes) / (outFeatures * inFeatures);
