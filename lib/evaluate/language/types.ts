import type { Environment } from '../../environment';
import type { CalibrationData, DataOptions } from '../../models/types';
import type { JobOptions } from '../../types';
import type { Warning } from '../../warning-codes';

/** Options of `evaluateCheckpoint` and `evaluateLanguageModel`. */
export interface EvaluateCheckpointOptions
  extends
    JobOptions,
    Pick<DataOptions, 'tokenizer' | 'sequenceLength' | 'samples' | 'textField' | 'skipBroken'> {
  /** Text, or tokens as the input `input_ids`, that calibration has not seen. The option `tokenizer` is by default the float folder's own. */
  data: CalibrationData;
  /** Bytes of activations that may be kept in memory from one block to the next (default 2^29); more go to a file in the system's folder for such. */
  memory?: number;
}

/** A mean over tokens. */
export interface Estimate {
  /** Over tokens. */
  mean: number;
  /** From how documents differ; null where there is one. */
  standardError: number | null;
}

/** How a quantized language model continues texts, beside the float one. */
export interface NextTokenMeasures {
  /** Places at which the next token is known. */
  tokens: number;
  /** The exponential of the mean cross entropy of the next token. */
  perplexity: { float: Estimate; quantized: Estimate };
  /** The quantized one's as a multiple of the float one's: its error is that of the difference on the same tokens. */
  perplexityRatio: Estimate;
  /** Σ p·log(p / q), in nats: p of the float network, q of the quantized one. */
  klDivergence: Estimate;
  /** Its 99.9th percentile over the tokens. */
  klDivergence999: number;
  /** The share of tokens at which both hold the same next token for the most likely one. */
  sameNextToken: Estimate;
}

/** The same of one document. */
export interface DocumentMeasures {
  /** From 0, in the order of the data. */
  document: number;
  /** Places at which the next token is known. */
  tokens: number;
  /** Of its tokens. */
  perplexity: { float: number; quantized: number };
  /** The mean over its tokens, in nats. */
  klDivergence: number;
  /** The share of its tokens. */
  sameNextToken: number;
}

/** One quantized checkpoint beside the float one. */
export interface CheckpointMeasures extends NextTokenMeasures {
  /** The quantized checkpoint. */
  quantized: string;
  /** Of its files of weights. */
  bytes: number;
  /** In the order of the data. */
  documents: DocumentMeasures[];
}

/** What `evaluateCheckpoint` found. */
export interface CheckpointEvaluation {
  /** The float checkpoint. */
  float: string;
  /** Of its files of weights. */
  bytes: number;
  /** Documents, windows that they were cut into, and tokens of the longest window. The first token of each window is not judged. */
  data: { documents: number; windows: number; longest: number };
  /** In the order in which they were given. */
  checkpoints: CheckpointMeasures[];
  /** Of all of the work. */
  seconds: number;
  /** Each ends with its code. */
  warnings: Warning[];
  /** What the numbers depend on besides input and options. */
  environment: Environment;
}

/** What `evaluateLanguageModel` found, as means over the tokens. */
export interface LanguageEvaluation {
  /** Places at which the next token is known. */
  tokens: number;
  /** The exponential of the mean cross entropy of the next token. */
  perplexity: { float: number; quantized: number };
  /** KL divergence of the next token's distribution from the float model's, in nats: mean, and 99.9th percentile. */
  kl: { mean: number; p999: number };
  /** The share of tokens at which both hold the same next token for the most likely one. */
  sameToken: number;
  /** Each ends with its code. */
  warnings: Warning[];
}
