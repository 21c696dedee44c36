import type { GgufTypeName } from './encodings/names';
import type { methodTable } from './method-table';
import type { Warning } from './warning-codes';

/** How a layer's weights become codes: `vertex`, `gptq`, `gpfq`, `maly-saab` or `msq`. See docs/methods.md. */
export type Method = (typeof methodTable)[number]['name'];

/**
 * The values a weight may take: `integer` {−K…K}·s, `asymmetric` {0…L−1}·s shifted by an integer zero point, `zero-free`
 * {±½, ±3⁄2, …}·s, `full-range` {−L/2…L/2−1}·s: every code of a signed integer, one level more below 0 than `integer` has;
 * `float-minimum` {0…L−1}·s + m, m any float.
 */
export type Grid = 'integer' | 'asymmetric' | 'zero-free' | 'full-range' | 'float-minimum';

/** A grid by its name, or `table`: levels of one's own. */
export type AnyGrid = Grid | 'table';

/** The box the vertex walk stays in: the whole alphabet's range (the paper's), or the levels around each weight. */
export type Box = 'saturate' | 'cell';

/** Numbers of either precision. */
export type FloatArray = Float32Array | Float64Array;

/** A tensor to feed: onnxruntime's `Tensor` has this shape. `type` is needed only where `data` does not tell it. */
export interface TensorLike {
  /** The numbers, or strings, row after row. */
  data: ArrayBufferView | readonly string[] | readonly boolean[];
  /** The shape. */
  dims: readonly number[];
  /** As onnxruntime names types; default: by the kind of the array. */
  type?: string;
}

/**
 * One linear layer, y = W x, and the data it sees. All arrays are row-major. Arrays of up to 16 MiB together are copied before a call returns; of
 * more, what is changed or transferred before the promise has settled may be an error.
 */
export interface LayerInput {
  /** W, [outFeatures, inFeatures]: a neuron a row. */
  weight: FloatArray;
  /** Neurons: rows of the weight. */
  outFeatures: number;
  /** Inputs of a neuron: columns of the weight. */
  inFeatures: number;
  /** X̃, [samples, inFeatures]: what the quantized layer will see. */
  activations?: FloatArray;
  /**
   * X, as many rows: what the float layer saw for the same samples. `vertex`, `gptq` and `gpfq` then aim at its outputs, XWᵀ, and
   * errors are against these. Default: the same as `activations`.
   */
  targetActivations?: FloatArray;
  /** Rows of X̃ kept out of the fit, for the reported error. */
  holdout?: FloatArray;
  /** X for the same rows; default: the same as `holdout`. */
  targetHoldout?: FloatArray;
  /**
   * s, [samples], finite and not negative: each row of `activations` (and `targetActivations`) counts s times, so that the fit is to XᵀSX in
   * place of XᵀX. Rows that matter more to the network's outputs may have more (docs/methods.md).
   */
  rowWeights?: Float32Array;
  /** The same of the rows of `holdout`, which then choose what a fit chooses by held-out rows. The reported error is without. */
  holdoutWeights?: Float32Array;
  /** X̃ᵀX̃, [inFeatures, inFeatures], instead of `activations`. */
  gram?: Float64Array;
  /**
   * X̃ᵀX, [inFeatures, inFeatures], instead of `targetActivations`. It does not tell XWᵀ: the reported calibration error is then
   * against the outputs nearest to it that a layer which sees X̃ can give.
   */
  crossGram?: Float64Array;
  /**
   * G = Σ ggᵀ, [outFeatures, outFeatures], of the gradients g of a loss by the layer's outputs, in any unit: output channels then make up for errors of each other, so that
   * tr(E·X̃ᵀX̃·Eᵀ·G) of the errors E is low, and each channel's own error higher (docs/curvature.md). Of `vertex`, `gptq` and `gpfq`.
   */
  outputGram?: Float64Array;
}

/** How far long work has come. `done` of `total` units, whose kind depends on the stage. */
export interface Progress {
  /**
   * `draw` has a language model draw the texts that it is fitted to (tokens), `capture` runs the network (units: runs, each of a batch of samples), `quantize` fits a layer (neurons), `tune` tunes a block (steps), `write` writes the file;
   * `weigh` tells how much the network's outputs feel of each row (parts, forward and back); `evaluate` runs both networks (batches), `time` times them (runs), `judge` runs language models (shares of the work); `verify` reads back (bytes).
   */
  stage:
    'draw' | 'weigh' | 'capture' | 'quantize' | 'tune' | 'write' | 'evaluate' | 'time' | 'judge' | 'verify';
  /** How much of `total` of this stage is done. */
  done: number;
  /** What there is to do in this stage. */
  total: number;
  /** For checkpoints, of weights that are fitted to nothing: that `done` and `total` are bytes of the input. */
  unit?: 'bytes';
  /** Of layers that are fitted to data: about what part of the time that all of them take is over, from 0 to 1. */
  share?: number;
  /** In a model: the layer's name, and which of how many it is, from 0. */
  layer?: string;
  /** Which layer, from 0. */
  layerIndex?: number;
  /** Of how many. */
  layerCount?: number;
  /** In a comparison: the method and width being tried, and which of how many, from 0. */
  run?: string;
  /** Of a comparison, which run, from 0. */
  runIndex?: number;
  /** Of how many. */
  runCount?: number;
}

/** What every long call takes. */
export interface JobOptions {
  /**
   * Threads for the numerical work; default: the cores this process may use. Results do not depend on it. (onnxruntime, where it
   * runs the network, has threads of its own: one a core, at most eight.)
   */
  threads?: number;
  /** Aborting it rejects the call with its reason. */
  signal?: AbortSignal;
  /** Called now and then with how far the work is. What it throws ends the work. */
  onProgress?: (progress: Progress) => void;
}

/** What a run tells before its end. */
export interface WarningOptions {
  /**
   * Called with each warning when it is known, those of the data and of the plan before the first layer is fitted, and with the name of the layer that it is about. The report has all of them,
   * and those that only the whole output tells of besides.
   */
  onWarning?: (warning: Warning, layer?: string) => void;
}

/** Which alphabet, and how much of the data to hold. */
export interface AlphabetOptions {
  /** 1 to 8; default 4. */
  bits?: number;
  /** Number of levels instead of `bits`: 3 is ternary. */
  levels?: number;
  /** By its name, or the levels themselves in units of the scale: 2 to 128 rising numbers, on both sides of 0. */
  grid?: Grid | readonly number[];
  /** Consecutive inputs that share a scale, or `channel`: all of a neuron's. */
  groupSize?: number | 'channel';
  /** For `maly-saab` and `preprocess`. */
  box?: Box;
  /**
   * For `vertex`, `maly-saab` and `preprocess`: how many directions of the data the walk holds exactly, a whole number, or a
   * fraction (below 1) of inFeatures.
   */
  rank?: number | 'auto';
}

/** Options that every call which quantizes has: method, bits, grid, groups and effort. */
export interface QuantizeOptions extends AlphabetOptions, JobOptions {
  /** Default `vertex`; without calibration data `msq`, the only method that needs none. */
  method?: Method;
  /** `search` for the scale with the least output error, or `max`: the largest weight. `maly-saab` needs `max`. */
  scale?: 'search' | 'max';
  /**
   * For `vertex`: how many more answers to find and recombine after the walk; each pass only lowers the error. 0 is the walk alone;
   * `auto` (default) goes by cost.
   */
  effort?: number | 'auto';
  /** For `vertex` and `gptq`: λ of X̃ᵀX̃ + λI, over the mean of the diagonal; 0 or more. More of it fits the samples less closely. */
  damping?: number;
}

/** Options of `quantizeLayer`. */
export interface QuantizeLayerOptions extends QuantizeOptions {
  /**
   * A block type of GGUF files, by ggml's name, in place of `bits`, `levels`, `grid` and `groupSize`, which it tells: scales and minima are
   * what its blocks hold, float16 numbers, of super-blocks few-bit multiples of such; scales may be negative. The inputs are whole blocks.
   */
  blockType?: GgufTypeName;
}

/** Options of `preprocess`. */
export interface PreprocessOptions extends AlphabetOptions, JobOptions {}

/** The paper's pre-processing of one layer. */
export interface Preprocessed {
  /** Ŵ, [outFeatures, inFeatures]: X ŵ = X w for every neuron, up to rounding. */
  weight: Float64Array;
  /** Per neuron, the inputs whose weight is not on the alphabet: at most `rank` of them. */
  free: Int32Array[];
  /** Directions of the data held: rank(X), unless the option `rank` asked for fewer. */
  rank: number;
  /** Per neuron, an upper bound of ‖Xw − Xq‖ after rounding: (δ/2)·Σ‖x_i‖ over its free entries, plus ‖Xŵ − Xw‖. */
  bound: Float64Array;
  /** ‖XŴᵀ − XWᵀ‖ / ‖XWᵀ‖, Frobenius; null where XWᵀ is 0 and XŴᵀ, by rounding, is not. */
  residual: number | null;
  /**
   * The alphabets, [outFeatures, groups]: the levels are (code − zeroPoint)·scale from `lowest` to `highest`; with `minima`
   * code·scale + minimum, with a `table` table[code]·scale, codes from 0.
   */
  scales: Float64Array;
  /** [outFeatures, groups]; 0 where the grid has none. */
  zeroPoints: Float64Array;
  /** Of the grid `float-minimum`; else null. */
  minima: Float64Array | null;
  /** Of a grid of one's own levels these, as float32; else null. */
  table: Float32Array | null;
  /** The least code of each alphabet, [outFeatures, groups]. */
  lowest: Float64Array;
  /** The greatest code of each alphabet, [outFeatures, groups]. */
  highest: Float64Array;
  /** Of an alphabet. */
  levels: number;
  /** Inputs that share an alphabet. */
  groupSize: number;
}

/** Relative errors, Frobenius, on the rows of the fit and on those held out; null where there are none, or not what it takes to tell. */
export interface Errors {
  /** On the rows of the fit. */
  calibration: number | null;
  /** On held-out rows. */
  holdout: number | null;
}

/** What quantization did to one layer. */
export interface LayerReport {
  /** The node's, or the module's. */
  name: string;
  /** The ONNX operator, or `Linear`. */
  kind: string;
  /** [outFeatures, inFeatures]. */
  shape: [number, number];
  /** The method whose codes these are. */
  method: string;
  /**
   * The method that was asked for, where plain rounding had the lower error on the held-out rows, or the groups of a convolution had
   * fewer rows than inputs, and plain rounding took its place; else null. Errors are against what they would have been against.
   */
  fellBackFrom: string | null;
  /** Whether the fit aimed at the outputs that the float layer gave on inputs of its own. */
  errorCorrection: boolean;
  /** Of a code. */
  bits: number;
  /** Inputs that share a scale. */
  groupSize: number;
  /** Calibration rows that the fit saw. */
  samples: number;
  /** Of an expert: calibration rows that the network sent it, and whether it was fitted to these or, where they were few, to all. */
  expert?: { rows: number; fittedTo: 'own' | 'all' };
  /**
   * Where the scales of its block were tuned together: the value that the block ends with, and the relative error of that against the float network before and after, each row counting by its weight (without
   * weights, through its own square). They are kept where the error on held-out rows fell. All other errors told of the layer are those before.
   */
  tuned?: { block: string; before: Errors; after: Errors; isKept: boolean };
  /** Directions of the data that the walk held. */
  rank: number;
  /** Weights per neuron that had to be rounded because they were not on the alphabet: the mean. */
  freeEntries: number;
  /**
   * null without such rows, and where the float layer's outputs on them are all 0. Every row counts alike here; of weighted rows that is not
   * known for those of the fit.
   */
  error: {
    /** This layer alone, on the inputs that it sees in the quantized network: ‖X̃(Q − W)ᵀ‖ / ‖X̃Wᵀ‖. */
    own: Errors;
    /**
     * Against what the float network gives there, with what went wrong before the layer: ‖X̃Qᵀ − XWᵀ‖ / ‖XWᵀ‖. On the rows of the fit
     * it is known where the fit corrects errors, on those held out in any network; null where nothing tells X: layers by themselves,
     * recorded inputs, rows that a network picks by their values.
     */
    againstFloat: Errors | null;
    /** ‖Q − W‖ / ‖W‖. */
    weight: number;
    /** @deprecated Of `againstFloat`, and where that is not known of `own`. */
    calibration: number | null;
    /** @deprecated As `calibration`. */
    holdout: number | null;
  };
  /**
   * Where rows were weighted, else null: the errors under their weights, which the fit lowered, and as how many rows of one weight they count,
   * (Σs)²/Σs².
   */
  weighted: { calibration: number | null; holdout: number | null; effectiveRows: number } | null;
  /** −20·log₁₀ of the held-out error, or of the calibration error where nothing was held out: against float where that is known. */
  sqnrDb: number | null;
  /**
   * How far the calibration error is above the sphere bound, in dB: for an unbounded grid of the same step no rounding is on average
   * nearer than about 0. null where it says nothing, and for methods that do not compute it.
   */
  sphereGapDb: number | null;
  /** For `vertex`: passes after the walk, and the share of neurons for which the walk improved on GPTQ. */
  passes: number | null;
  /** For `vertex`: the share of neurons, from 0 to 1, for which the walk improved on GPTQ. */
  walked: number | null;
  /** For `vertex` and `gptq`: the damping that was used. */
  damping: number | null;
  /** The certificate of `maly-saab` as a relative error: an upper bound of `error.own.calibration`. */
  bound: number | null;
  /** Of the fit. */
  seconds: number;
  /** Of the weight in the input, and in the output with scales and zero points. */
  bytes: { before: number; after: number };
  /** Bits that a weight takes as it is stored: codes, scales, zero points. */
  storedBits: number;
  /** Each ends with its code. */
  warnings: Warning[];
}

/** A weight that a checkpoint holds in few bits. */
export interface InspectedWeight {
  /** The module's. */
  name: string;
  /** [outFeatures, inFeatures]. */
  shape: [number, number];
  /** Of a code. */
  bits: number;
  /** Inputs that share a scale. */
  groupSize: number;
  /** Whether it has no zero points. */
  symmetric: boolean;
  /** Of all its tensors. */
  bytes: number;
}

/** A tensor of floats that a run leaves as it is. */
export interface SkippedWeight {
  /** The layer's name, or the tensor's. */
  name: string;
  /** Why, for people. */
  reason: string;
  /** In the input. A tensor that is told of several times, or that is also quantized, counts once. */
  bytes: number;
  /** Whether options or their defaults left it (embeddings, norms, vectors); false where it could not be quantized. */
  choice: boolean;
}

/**
 * A layer's weights in few bits: value = (code − zeroPoint)·scale. With `minima` code·scale + minimum, with a `table`
 * table[code]·scale, codes from 0.
 */
export interface QuantizedLayer {
  /** [outFeatures, inFeatures]. */
  codes: Int8Array;
  /** [outFeatures, groups]. */
  scales: Float32Array;
  /** [outFeatures, groups]; null where all are 0. */
  zeroPoints: Float32Array | null;
  /** [outFeatures, groups], of the grid `float-minimum`; else null. */
  minima: Float32Array | null;
  /** Of a grid of one's own levels these, as float32; else null. */
  table: Float32Array | null;
  /** Inputs that share a scale. */
  groupSize: number;
  /** Of a code as formats store it. */
  bits: number;
  /** Values that a weight may take in its group. */
  levels: number;
  /** Neurons. */
  outFeatures: number;
  /** Inputs of a neuron. */
  inFeatures: number;
  /** The weights, [outFeatures, inFeatures]. */
  dequantize(): Float32Array;
  /** What the quantization did. */
  report: LayerReport;
}
