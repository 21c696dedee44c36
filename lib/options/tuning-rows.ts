import type { JobOptions } from '../types';
import type { TuneOptions } from '../tuning/types';
import { only } from './choose';
import * as dataKinds from './data-kinds';
import { data } from './data-rows';
import { defaults } from './defaults';
import * as kinds from './kinds';
import type { Options } from './kinds';

// The options of tuning a quantized language model.

const mostRounds = 1000;

export const tuned = {
  calibration: {
    kind: dataKinds.samples,
    help: 'text that the model is to be near the float one on: .txt, a text a line, .jsonl, or token ids',
    group: 'Data',
    required: true,
  },
  holdout: {
    kind: dataKinds.samplesOrFraction,
    help: `share of the windows that scales are judged on instead, by documents, or a file of others: only what is better there is kept (default: ${defaults.holdout})`,
    group: 'Data',
  },
  ...only(data, 'tokenizer', 'sequenceLength', 'samples', 'textField'),
  rounds: {
    kind: kinds.integer(1, mostRounds),
    help: 'how often scales are tuned to the data (default: 1)',
    group: 'Method',
  },
} satisfies Options<Omit<TuneOptions, 'memory' | keyof JobOptions>>;
