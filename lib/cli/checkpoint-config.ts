import { checkCheckpointOptions } from '../checkpoints/checkpoint-options';
import { checkpointOptionNames } from '../checkpoints/option-names';
import type { CheckpointOptions } from '../checkpoints/types';
import { modelOptionNames } from '../models/option-names';
import { type Kind, type Options, optionsWith, pathsIn } from './config';

const kind: Kind = {
  names: checkpointOptionNames,
  others: modelOptionNames,
  refuse: (name) =>
    `The "${name}" option is for ONNX models, and the input is a checkpoint` +
    (name === 'calibration' ? ', which takes what its layers see, in "activations"' : ''),
  withPaths: (options, resolve) => ({
    ...options,
    ...('activations' in options && {
      activations: pathsIn('activations', options['activations'], resolve),
    }),
  }),
  check: checkCheckpointOptions,
};

/** The options of `quantizeCheckpoint` that a file has, with `flags`, as `optionsWith` puts them together. */
export async function withCheckpointConfig(
  file: string,
  flags: CheckpointOptions,
): Promise<CheckpointOptions> {
  return optionsWith(file, flags as Options, kind);
}
