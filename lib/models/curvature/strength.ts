import type { Calibration } from '../../fit/calibration';

// How much rows are weighted: chosen by what quantized networks give on other data (docs/curvature.md).

/** Powers of the mean square gradients. With error correction rows of little weight are needed still, for the correction is fitted to all of them. */
const powers = { corrected: 0.5, uncorrected: 1 };
/** Added to mean squares, whose mean is 1: no row counts for nothing, for the sample of outputs that gave it so little was small. */
const floor = 0.02;
/** Of the correction of errors before a layer, where rows are weighted: a part, and less of it where they count as few. */
const correction = { most: 0.5, rowsPerInput: 4 };

/** How often a row counts whose mean square gradient is `ratio` times the mean of all. */
export const weightOf = (ratio: number, isCorrected: boolean): number =>
  (ratio + floor) ** (isCorrected ? powers.corrected : powers.uncorrected);

/** The part of the correction that is asked for. */
export function correctionOf({ effectiveRows, inFeatures, isWeighted }: Calibration): number {
  if (!isWeighted) return 1;
  return correction.most * Math.min(1, effectiveRows / (correction.rowsPerInput * inFeatures));
}
