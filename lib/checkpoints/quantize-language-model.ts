import { describe } from '../options/messages';
import type { CalibrationData } from '../models/types';
import { quantizeCheckpoint } from './quantize-checkpoint';
import { isFittedToText } from './checkpoint-options';
import type { CheckpointOptions, CheckpointReport } from './types';

/** Those of `quantizeCheckpoint` that a language model is fitted to text with. */
export type LanguageModelOptions = Omit<CheckpointOptions, 'activations' | 'calibration' | 'ownSamples'> &
  ({ calibration: CalibrationData; ownSamples?: never } | { calibration?: never; ownSamples: number });

/**
 * Quantizes a language model, fitted to text layer after layer, as `quantizeCheckpoint` does with `calibration` or `ownSamples`. One of the two has
 * to be given here. Rejects as `quantizeCheckpoint`.
 */
export async function quantizeLanguageModel(
  input: string,
  output: string,
  options: LanguageModelOptions,
): Promise<CheckpointReport> {
  // A caller in JavaScript may leave out what he must give.
  const given = (options as CheckpointOptions | undefined) ?? {};
  if (!isFittedToText(given))
    throw new TypeError(
      `Expected the "calibration" option to be text that the model is fitted to, not ${describe(given.calibration)}: without any, or "ownSamples",, quantizeCheckpoint rounds weights by themselves`,
    );
  return quantizeCheckpoint(input, output, options);
}
