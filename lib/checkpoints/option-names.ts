import { quantizeOptionNames } from '../options';

/** The options of `quantizeCheckpoint`. */
export const checkpointOptionNames: readonly string[] = [
  ...quantizeOptionNames,
  ...[
    'activations',
    'holdout',
    'format',
    'layers',
    'skip',
    'overrides',
    'memory',
    'resume',
    'allowQuantized',
  ],
];
