import type { LayerReport } from '../types';
import type { ComparedRun } from './types';

/** A run's error: the root mean square over its layers. */
export function meanErrors(layers: readonly LayerReport[]): ComparedRun['error'] {
  const mean = (of: 'calibration' | 'holdout') => {
    const errors = layers.map(({ error }) => error[of]);
    return errors.every((error) => error !== null)
      ? Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length)
      : null;
  };
  return { calibration: mean('calibration'), holdout: mean('holdout') };
}
