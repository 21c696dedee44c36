import type { Errors, LayerReport } from '../types';
import type { ComparedRun, ErrorCounts } from './types';

/** A run's errors: root mean squares over the layers that have one, and how many these are. */
export function meanErrors(layers: readonly LayerReport[]): Pick<ComparedRun, 'error' | 'measured'> {
  const told = means(layers.map(({ error }) => error));
  const own = means(layers.map(({ error }) => error.own));
  const float = means(layers.map(({ error }) => error.againstFloat));
  const hasFloat = layers.some(({ error }) => error.againstFloat !== null);
  return {
    error: { own: own.error, againstFloat: hasFloat ? float.error : null, ...told.error },
    measured: { own: own.count, againstFloat: float.count, ...told.count },
  };
}

function means(errors: readonly (Errors | null)[]): { error: Errors; count: ErrorCounts } {
  const calibration = meanOf(errors.map((error) => error?.calibration ?? null));
  const holdout = meanOf(errors.map((error) => error?.holdout ?? null));
  return {
    error: { calibration: calibration.mean, holdout: holdout.mean },
    count: { calibration: calibration.count, holdout: holdout.count },
  };
}

function meanOf(errors: readonly (number | null)[]): { mean: number | null; count: number } {
  const known = errors.filter((error) => error !== null);
  const mean = Math.sqrt(known.reduce((sum, error) => sum + error ** 2, 0) / known.length);
  return { mean: known.length === 0 ? null : mean, count: known.length };
}
