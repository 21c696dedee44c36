import type { Errors, LayerReport } from '../types';

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

export const noErrors: Errors = { calibration: null, holdout: null };

/** Bits that each of a layer's weights takes as it is stored: codes, scales, zero points and what fills them up. */
export const storedBits = (bytes: number, [outFeatures, inFeatures]: readonly [number, number]): number =>
  (8 * bytes) / (outFeatures * inFeatures);
