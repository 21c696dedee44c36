import type { AnyGrid, Box, FloatArray, Method } from '../types';

// What the addon's functions take and give (native/addon).

/** A running native job. */
export interface NativeJob<Result> {
  promise: Promise<Result>;
  /** Makes the promise reject with the code ERR_VERTEXQ_CANCELLED the next time the job looks. */
  cancel(): void;
  progress(): { done: number; total: number };
}

/**
 * What is kept of calibration data X̃ and, for error correction, X: `rows`, a triangular R with RᵀR = X̃ᵀX̃; `gram`, X̃ᵀX̃; `pairs`,
 * X̃ᵀX̃, X̃ᵀX and XᵀX.
 */
export type RowsKind = 'rows' | 'gram' | 'pairs';

/** Calibration data, kept natively in O(inFeatures²) numbers whatever the number of samples. */
export interface NativeLayerRows {
  /** `targetRows`, as long as `rows`: for `pairs` alone. `weights`: how often each row counts. */
  add(rows: FloatArray, targetRows?: FloatArray, weights?: Float32Array): NativeJob<void>;
  /** Adds what each output position of a convolution is computed from to every group. */
  addPatches(tensor: NativePatches): NativeJob<void>;
  /** One of the groups, which shares its data. */
  group(index: number): NativeLayerRows;
  /** `crossGram`: for `pairs` alone. */
  setGram(gram: Float64Array, crossGram?: Float64Array): NativeJob<void>;
  /** Not of kind `rows`. */
  sums(): NativeJob<NativeSums>;
  /** Adds what `sums` of another gave, where no rows are added; `cross` and `target` for `pairs` alone. */
  addSums(sums: NativeSums & { samples: number; offered: number }): NativeJob<void>;
  readonly samples: number;
  /** Patches that there were: more than `samples` where not all were taken. */
  readonly offered: number;
}

/** inFeatures × inFeatures each: X̃ᵀX̃, and for `pairs` X̃ᵀX and XᵀX. */
export interface NativeSums {
  gram: Float64Array;
  cross: Float64Array | null;
  target: Float64Array | null;
}

/** A tensor [batch, channels, spatial…] and a convolution's attributes, an entry per spatial axis; pads hold begins, then ends. */
export interface NativePatches {
  values: Float32Array;
  /** For `pairs` alone. */
  targets?: Float32Array;
  /** How often the patch of each output position counts, batch by batch. */
  weights?: Float32Array;
  shape: readonly number[];
  kernel: readonly number[];
  strides: readonly number[];
  dilations: readonly number[];
  pads: readonly number[];
  /** Where there are twice as many patches and more, about so many are taken, spread over all. */
  most?: number;
}

export interface NativeLayer {
  weight: FloatArray;
  outFeatures: number;
  inFeatures: number;
  calibration: NativeLayerRows | null;
  holdout: NativeLayerRows | null;
  /** Held-out rows, of any kind, for errors besides. */
  reported?: NativeLayerRows | null;
  /** Gradients by the outputs, of kind `gram`. */
  outputs?: NativeLayerRows | null;
  grid: AnyGrid;
  levels: number;
  /** Of `table`: the levels in units of the scale, rising. */
  table?: Float32Array | null;
  /** A block type of GGUF files, which tells of grid, levels and groups, which are its own, how its scales are kept. */
  blockType?: string | null;
  groupSize: number;
  box: Box;
  rank: 'full' | 'auto' | 'limit';
  rankLimit: number;
  threads: number;
}

export interface NativePreprocessed {
  weight: Float64Array;
  free: Int32Array[];
  bound: Float64Array;
  residual: number | null;
  rank: number;
  scales: Float64Array;
  zeroPoints: Float64Array;
  minima: Float64Array | null;
  lowest: Float64Array;
  highest: Float64Array;
}

export interface Norms {
  error: number;
  signal: number;
}

/** Of a weight's rows. */
export interface RowSums extends Norms {
  /** Groups whose weights have all become 0, although not all were. */
  zeroedGroups: number;
}

/** Frobenius, on rows. */
export interface RowNorms {
  /** ‖X̃(Q − W)ᵀ‖ and ‖X̃Wᵀ‖. */
  own: Norms;
  /** Of `pairs`: ‖X̃Qᵀ − XWᵀ‖ and ‖XWᵀ‖. */
  againstFloat: Norms | null;
}

export interface NativeQuantized {
  codes: Int8Array;
  scales: Float32Array;
  zeroPoints: Float32Array;
  /** Of the grid `float-minimum`, whose zero points are all 0. */
  minima: Float32Array | null;
  rank: number;
  offAlphabet: number;
  bound: Float64Array | null;
  norms: { weight: Norms; calibration: RowNorms | null; holdout: RowNorms | null; reported: RowNorms | null };
  /** As RowSums has them. */
  zeroedGroups: number;
  sphereGapDb: number | null;
  /** Passes of `vertex` after the walk. */
  passes: number;
  /** The relative damping that was used. */
  damping: number;
  /** Neurons for which the walk was better than GPTQ. */
  walked: number;
}

/** How weights become codes. Both calibrations are of one kind, which the method takes. */
export interface NativeMethod {
  method: Method;
  scale: 'max' | 'search';
  /** Relative; −1 for the default. */
  damping: number;
  /** −1 for as many as pay. */
  passes: number;
  /** Of `pairs`: the part of the way from the weights to those that correct the errors before, from 0 to 1. */
  correction: number;
  /** What scales are stored in. */
  scaleType: NativeFloat;
  /** What the weights themselves are stored in, where that is not codes; F64 where it is. Errors are those of what is stored. */
  valueType: NativeFloat;
}

/** Numbers as checkpoints hold them. */
export type NativeFloat = 'F64' | 'F32' | 'F16' | 'BF16';

/** How the addon packs weights. */
export interface NativePacking {
  /**
   * A neuron a row of words; a neuron a column, all of it transposed; the levels themselves, a neuron a row; or codes, a byte each,
   * with scales and zero points as float32.
   */
  order: 'neuron-major' | 'input-major' | 'values' | 'codes';
  /** Of the scales, with `codes` what they are rounded to; in the order `values` of these. */
  outType: NativeFloat;
  /** Added to a zero point in its field. */
  zeroShift: 0 | -1;
}

/** Numbers of any type that tensors have. */
export type NativeNumber = NativeFloat | 'I8' | 'I16' | 'I32' | 'I64' | 'U8' | 'U16' | 'U32' | 'U64';

/** `now`: at once, on the caller's thread; else a job. */
export interface NativeWay {
  threads: number;
  now?: true;
}

/** Codes and what makes values of them. */
export interface NativeCodes {
  input: Int8Array;
  stepValues: Float32Array;
  zeroValues: Float32Array | null;
  rows: number;
  cols: number;
  groupSize: number;
}

/** What makes values of codes that do not count even steps from 0. */
export interface NativeUneven {
  minima: Float32Array | null;
  /** 256 numbers, for the codes from −128. */
  table: Float32Array | null;
}

export interface NativeConversion extends NativeWay {
  input: ArrayBufferView;
  output: ArrayBufferView;
  from: NativeNumber;
  to: NativeFloat | 'I64';
  count: number;
}

/** Dimension i of the output is dimension order[i] of the input. Some pieces of the work: from `first` up to before `last`. */
export interface NativePermutation extends NativeWay {
  input: ArrayBufferView;
  output: ArrayBufferView;
  elementSize: number;
  dims: readonly number[];
  order: readonly number[];
  first: number;
  last: number;
}

/** Blocks as MatMulNBits has them. `doubled`: 1 for 2·code + 1 in place of the code. */
export interface NativeBlocks extends NativeCodes, NativeWay {
  blockSize: number;
  bits: number;
  offset: number;
  doubled: 0 | 1;
  codes: Uint8Array;
  scales: Float32Array;
  zeroPoints: Uint8Array | null;
}

/** Rows of integers one behind the other, each filled up to `rowLength`. */
export interface NativeIntegers extends NativeWay {
  input: Int8Array;
  rows: number;
  cols: number;
  rowLength: number;
  fill: Int8Array | null;
  bits: number;
  doubled: 0 | 1;
  output: Uint8Array;
}

/** Where the addon packs rows of a weight, into memory that nobody touches until the job has ended. */
export interface NativePacked extends NativePacking {
  rows: number;
  cols: number;
  groupSize: number;
  threads: number;
  bits: number;
  codes: Uint8Array;
  scales: Uint8Array | null;
  zeroPoints: Uint8Array | null;
  outFeatures: number;
  /** Which of the weight's rows comes first: a multiple of 32. */
  firstRow: number;
}

/** Rows to be rounded to the nearest level, with searched or covering scales. */
export interface NativeRows extends NativePacked {
  input: Uint8Array;
  type: NativeFloat;
  /** One of those of integers and zero points. */
  grid: AnyGrid;
  levels: number;
  scale: 'max' | 'search';
  /** Where rows lie down columns: how many numbers these are apart. */
  stride?: number;
  /** In the order `codes`, as NativeMethod has it. */
  valueType?: NativeFloat;
  /** In the order `codes`: inputs of a whole row, of which these are some. */
  width?: number;
}

/** Sums of squares: of what rounding changed, and of the weights. */
export interface NativeRounded extends RowSums {
  /** In the order `codes`. */
  offAlphabet: number;
  hasZeroPoints: boolean;
}

/** Whole weights in one buffer, which become parts of another: they differ in their shapes alone. */
export interface NativeMany extends Pick<
  NativeRows,
  'input' | 'type' | 'grid' | 'levels' | 'scale' | 'threads' | 'bits' | keyof NativePacking
> {
  output: Uint8Array;
  /**
   * Seven numbers of each: its rows and columns, the size of its groups, where it begins in `input`, and where its codes, scales and zero
   * points (-1: none) do in `output`.
   */
  places: Float64Array;
}

/** Rows of a packed weight, and where what is wanted of them goes: what is left out is not wanted. */
export interface NativeUnpacked extends NativePacked {
  /** The group of each input, of so many `groups`; left out where they lie one after the other. */
  groupOf?: Int32Array | null;
  groups?: number;
  codesTo?: Int8Array;
  scalesTo?: Float32Array;
  zeroPointsTo?: Float32Array;
  valuesTo?: Float32Array;
  /** The same rows of the float weight, of numbers of a type. */
  reference?: Uint8Array;
  type?: NativeFloat;
}

/** Rows whose codes are known. */
export interface NativeCoded extends NativePacked, NativeCodes {}

/**
 * Logits of `count` tokens of the vocabulary from `first` on, of several networks at `tokens` places: each array has the networks one behind
 * the other, the one that the others are compared with first.
 */
export interface NativeHeadPanel {
  sides: number;
  tokens: number;
  size: number;
  first: number;
  count: number;
  scale: number;
  /** 0 for none. */
  cap: number;
  threads: number;
  /** [sides, tokens, size] */
  hidden: Float32Array;
  /** [sides, count, size] */
  weights: Float32Array;
  /** [sides, tokens, 5]: as NextTokenSums of native/core/evaluate/next_token.h. */
  sums: Float64Array;
  /** The token that comes at each place. */
  next: Int32Array;
}

/** What the numbers of an output's rows are (native/core/curvature/output_draws.h). */
export type OutputKind = 'logits' | 'shares' | 'logarithms' | 'signs';

/** Rows of an output, for each of which a cotangent is drawn by its place: `first` is that of the first. */
export interface NativeOutputRows {
  kind: OutputKind;
  rows: number;
  size: number;
  seed: number;
  first: number;
  threads: number;
  values: Float32Array;
  cotangents: Float32Array;
}

/** Rows of logits, for each of which a class is drawn, as `NativeOutputRows` draws it. */
export type NativeClassRows = Omit<NativeOutputRows, 'kind' | 'cotangents'> & { classes: Int32Array };
