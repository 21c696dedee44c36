import { quantizeOptionNames } from '../options';
import { dataOptionNames } from './data/data-options';

/** The options of `quantizeModel`. */
export const modelOptionNames: readonly string[] = [
  ...quantizeOptionNames,
  ...dataOptionNames,
  ...['calibration', 'holdout', 'errorCorrection', 'format', 'operators', 'layers', 'skip', 'overrides'],
  ...['externalData', 'memory'],
];
