import type { LayerReport } from '../types';
import type { ComparedRun } from './types';

/** A run's errors: root mean squares over the layers that have one, and how many these are. */
export function meanErrors(layers: readonly LayerReport[]): Pick<ComparedRun, 'error' | 'measured'> {
  const calibration = meanOf(layers.map(({ error }) => error.calibration));
  const holdout = meanOf(layers.map(({ error }) => error.holdout));
  return {
    error: { calibration: calibration.mean, holdout: holdout.mean },
    measured: { calibration: calibration.count, holdout: holdout.count },
  };
}

function meanOf(errors: readonly (number | null)[]): { mean: number | null; count: number } {
  const known = errors.filter((error) => error !== null);
  const mean = Math.sqrt(known.reduce((sum, error) => sum + error ** 2, 0) / known.length);
  return { mean: known.length === 0 ? null : mean, count: known.length };
}
