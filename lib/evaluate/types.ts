import type { CalibrationData, DataOptions, Feeds, Report } from '../models/types';
import type { JobOptions, TensorLike } from '../types';
import type { Warning } from '../warning-codes';

/** What a network gave for one feed: output name → tensor. */
export type ModelOutputs = Record<string, TensorLike>;

/**
 * Any other number to judge a network by, such as its accuracy: of what it gave on the held-out feeds, in their order, and of these.
 * All of the outputs are in memory then.
 */
export type Score = (outputs: readonly ModelOutputs[], feeds: readonly Feeds[]) => number | Promise<number>;

/** How far a quantized network's outputs are from those of the float network. */
export interface OutputError {
  /** ‖Y′ − Y‖ / ‖Y‖, Frobenius, over all float outputs together. */
  error: number;
  /** Mean cosine of the outputs' rows, along the last axis that is not the samples'; null where all of them are 0. */
  cosine: number | null;
  /** How many rows that is. */
  rows: number;
}

/** Options of `evaluateModel`. */
export interface EvaluateOptions extends DataOptions, Omit<JobOptions, 'threads'> {
  /** What both networks are run on: samples that calibration has not seen. Takes what `calibration` takes. */
  data: CalibrationData;
  /** How often each network is timed, after a warm-up; 0 for not at all (default 10). */
  runs?: number;
  /** Called once for each of the two networks. */
  score?: Score;
  /** Threads of onnxruntime; default: one a core, at most eight. */
  threads?: number;
  /**
   * How exactly onnxruntime computes products with weights that a DequantizeLinear makes (the format `qdq`), which it fuses: 1 is
   * float32, 4 rounds activations to 8 bits, 0 leaves it to the processor. Default: what the runtime does by itself, which is 4.
   */
  accuracyLevel?: 0 | 1 | 2 | 3 | 4;
}

/** One output of the two networks, on all of the data. Rows are along its last axis that is not the samples'. */
export interface OutputEvaluation {
  /** The output's. */
  name: string;
  /** As onnxruntime names tensor types. */
  type: string;
  /** How many it has on all of the data. */
  rows: number;
  /** Mean cosine of the rows; null for integers, and where all are 0. */
  cosine: number | null;
  /** ‖Y′ − Y‖ / ‖Y‖, Frobenius; null for integers; infinite where only one of two numbers is finite. */
  error: number | null;
  /** −20·log₁₀ of it; null where it is 0, infinite or unknown. */
  sqnrDb: number | null;
  /** The largest |y′ − y|; null for integers. */
  maxError: number | null;
  /**
   * Share of the rows whose largest entry is at the same place; null where rows have one entry, and of outputs that are called embeddings, features or states. Of outputs that are no floats: the
   * share of equal elements.
   */
  agreement: number | null;
  /** Numbers that are NaN or infinite. Where both networks have the same there, as with masks, that is no error. */
  notFinite: { float: number; quantized: number };
  /** Runs in which the quantized network's output had another shape. They are not in the other numbers. */
  otherShape: number;
}

/** Seconds of one run. */
export interface Latency {
  /** Of the runs. */
  median: number;
  /** Quartiles: the middle half of the runs is between. */
  lower: number;
  /** The upper quartile. */
  upper: number;
}

/** What `evaluateModel` found. */
export interface Evaluation {
  /** The float network's file. */
  floatModel: string;
  /** The quantized network's file. */
  quantizedModel: string;
  /** On which both were run. */
  samples: number;
  /** Outputs that both networks have, in the float network's order. */
  outputs: OutputEvaluation[];
  /** What the option `score` returned. */
  score: { float: number; quantized: number } | null;
  /** The files, with their external data. */
  bytes: { float: number; quantized: number };
  /** Of one run on `samples` samples, the two networks taking turns; null with `runs` 0. */
  latency: { float: Latency; quantized: Latency; samples: number; runs: number } | null;
  /** What makes the quantized network slower, and what to do about it. */
  hints: string[];
  /** Of all of the work. */
  seconds: number;
  /** Each ends with its code. */
  warnings: Warning[];
  /** What the numbers depend on besides input and options. */
  environment: Report['environment'];
}
