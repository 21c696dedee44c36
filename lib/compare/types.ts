import type { OutputError, Score } from '../evaluate/types';
import type { ModelOptions, Report } from '../models/types';
import type { Errors, LayerReport, Method, SkippedWeight } from '../types';
import type { Warning } from '../warning-codes';

export type { ModelOutputs, OutputError } from '../evaluate/types';

/**
 * What to compare, and the options that all runs share. Of a layer, those that concern a model are refused. An option that only some
 * methods take goes to these, and is refused where none of `methods` does.
 */
export interface CompareOptions extends Omit<
  ModelOptions,
  | ('preset' | 'method' | 'bits' | 'levels' | 'resume' | 'otherKernels' | 'onWarning')
  | ('targetSize' | 'targetBits' | 'targetError' | 'sensitivity')
> {
  /** Default `vertex`, `gptq`, `gpfq` and `msq`; for a layer with `targetActivations`, `crossGram` or `outputGram` without `msq`. */
  methods?: readonly Method[];
  /** Default 2, 3 and 4. */
  bits?: readonly number[];
  /**
   * For models: any other number to compare, such as accuracy. Called for the float network and after each run with what the network
   * gave on the held-out feeds, in their order, and with these. All of the outputs are in memory then.
   */
  score?: Score;
}

/** How many layers have an error, on each kind of rows. */
export type ErrorCounts = Record<keyof Errors, number>;

/** One method at one width. */
export interface ComparedRun {
  /** The method that was tried. */
  method: Method;
  /** The width that it was tried at. */
  bits: number;
  /** In the order of their quantization; of a layer one. */
  layers: LayerReport[];
  /**
   * Root mean squares of the relative errors of the layers that have one (LayerReport); null where none has. `calibration` and `holdout` are
   * deprecated, as in a layer's report.
   */
  error: { own: Errors; againstFloat: Errors | null } & Errors;
  /** How many layers these are: a layer whose outputs on the data are all 0 has no error. */
  measured: { own: ErrorCounts; againstFloat: ErrorCounts } & ErrorCounts;
  /** For models, on the held-out feeds; null where there are none, or no float output. */
  output: OutputError | null;
  /** What the option `score` returned. */
  score: number | null;
  /** For a model: running it up to each layer, and the fit. For a layer: the fit. */
  seconds: number;
  /** The quantized layers' weights. */
  bytes: { before: number; after: number };
}

/** What `compareMethods` found. */
export interface Comparison {
  /** The model's file, or `layer`. */
  input: string;
  /** Those that were tried. */
  methods: Method[];
  /** The widths that they were tried at. */
  bits: number[];
  /** Samples of a model, and rows of a layer: 0 for a Gram matrix. */
  samples: { calibration: number; holdout: number };
  /** By bits, then by method, in the order that was asked for. */
  runs: ComparedRun[];
  /** Of the float network. */
  score: number | null;
  /** Weights that are left as they are, each with the reason. */
  skipped: SkippedWeight[];
  /** Of all of the work. */
  seconds: number;
  /** Each ends with its code. */
  warnings: Warning[];
  /** What the numbers depend on besides input and options. */
  environment: Report['environment'];
}
