import type { EvaluateCheckpointOptions } from '../evaluate/language/types';
import type { JobOptions } from '../types';
import type { TuneOptions } from '../tuning/types';
import { only } from './choose';
import * as dataKinds from './data-kinds';
import { data } from './data-rows';
import { defaults } from './defaults';
import * as kinds from './kinds';
import type { Options } from './kinds';

// The options of judging and tuning quantized language models.

const mostRounds = 1000;

export const evaluated = {
  ...only(data, 'tokenizer', 'sequenceLength', 'samples', 'textField', 'skipBroken'),
  memory: {
    kind: kinds.bytes(0),
    help: 'checkpoints: as 768M or 2G: activations kept between blocks, more go to a temporary file (default: 512M)',
    group: 'Running',
  },
} satisfies Options<Omit<EvaluateCheckpointOptions, 'data' | keyof JobOptions>>;

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
  ...evaluated,
  rounds: {
    kind: kinds.integer(1, mostRounds),
    help: 'how often scales are tuned to the data (default: 1)',
    group: 'Method',
  },
} satisfies Options<Omit<TuneOptions, keyof JobOptions>>;
