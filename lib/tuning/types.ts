import type { Environment } from '../environment';
import type { CalibrationData, DataCounts, DataOptions } from '../models/types';
import type { JobOptions } from '../types';
import type { Warning } from '../warning-codes';

/** Options of `tuneCheckpoint`. */
export interface TuneOptions
  extends
    JobOptions,
    Pick<DataOptions, 'tokenizer' | 'sequenceLength' | 'samples' | 'textField' | 'skipBroken'> {
  /** Text, or tokens as the input `input_ids`. The option `tokenizer` is by default the float folder's own. */
  calibration: CalibrationData;
  /** Share of the windows that is held out, by documents, or text of its own (default 0.1). Scales are kept only where it says that they are better. */
  holdout?: number | CalibrationData;
  /** How often scales are tuned to the data (default 1). */
  rounds?: number;
  /** Bytes of activations that may be kept in memory from one block to the next (default 2^29); more go to a file in the system's folder for such. */
  memory?: number;
}

/** Mean KL divergence from the float model's next token, in nats; null where nothing was held out. */
export interface Divergences {
  /** In its step, with scales as they were then: of the first steps, or of the last. */
  calibration: number;
  /** Of held-out windows; null where there are none. */
  holdout: number | null;
}

/** What `tuneCheckpoint` did. */
export interface TuneReport {
  /** The float checkpoint. */
  float: string;
  /** The checkpoint whose scales these were. */
  quantized: string;
  /** What was written. */
  output: string;
  /** KL divergence before and after; of the calibration data in the first and last quarter of the steps. */
  divergence: { before: Divergences; after: Divergences };
  /** Whether the held-out divergence fell; where it did not, the output has the scales that it was given. */
  isKept: boolean;
  /** How much it was tuned to, and judged by. */
  data: DataCounts;
  /** Steps of the optimizer. */
  steps: number;
  /** Weights whose scales are tuned, and scales of all of them. */
  weights: number;
  /** How many scales all of these weights have. */
  scales: number;
  /** Weights in few bits whose scales stay as they are. */
  left: { name: string; reason: string }[];
  /** Of all of the work. */
  seconds: number;
  /** Each ends with its code. */
  warnings: Warning[];
  /** What the numbers depend on besides input and options. */
  environment: Environment;
}
