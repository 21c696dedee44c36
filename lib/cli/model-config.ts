import { checkpointOptionNames } from '../checkpoints/option-names';
import { checkModelOptions } from '../models/model-options';
import { modelOptionNames } from '../models/option-names';
import type { ModelOptions } from '../models/types';
import { type Kind, type Options, optionsWith, pathsIn } from './config';

const kind: Kind = {
  names: modelOptionNames,
  others: checkpointOptionNames,
  refuse: (name) => `The "${name}" option is for checkpoints, and the input is an ONNX model`,
  withPaths: (options, resolve) => {
    const { calibration, holdout, tokenizer } = options;
    return {
      ...options,
      ...('calibration' in options && { calibration: pathsIn('calibration', calibration, resolve) }),
      ...('holdout' in options &&
        typeof holdout !== 'number' && {
          holdout: pathsIn('holdout', holdout, resolve, { orElse: ', or a fraction' }),
        }),
      ...(typeof tokenizer === 'string' && { tokenizer: resolve(tokenizer) }),
    };
  },
  check: checkModelOptions,
};

/** The options of `quantizeModel` that a file has, with `flags`, as `optionsWith` puts them together. */
export async function withConfig(file: string, flags: ModelOptions): Promise<ModelOptions> {
  return optionsWith(file, flags as Options, kind);
}
