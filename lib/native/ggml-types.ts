import type { NativeFloat } from './addon-types';

// The same of block types of GGUF files.

/** A block type of GGUF files as the addon knows it (native/core/packing/ggml_types.h). */
export interface NativeGgmlType {
  name: string;
  /** Of a block. */
  weights: number;
  bytes: number;
  /** Weights that share a scale. */
  group: number;
  grid: 'full-range' | 'float-minimum' | 'table';
  levels: number;
  table: Float32Array | null;
}

/** Rows of a weight in a block type: whole blocks. `firstRow`: the number that messages have for the first. */
export interface NativeGgmlRows {
  type: string;
  rows: number;
  cols: number;
  firstRow: number;
  threads: number;
}

/** Codes as QuantizedLayer has them; scales may be negative. */
export interface NativeGgmlCodes extends NativeGgmlRows {
  input: Int8Array;
  stepValues: Float32Array;
  minima: Float32Array | null;
  output: Uint8Array;
}

/** Blocks, and where what is wanted of them goes. */
export interface NativeGgmlBlocks extends NativeGgmlRows {
  input: Uint8Array;
  codesTo?: Int8Array;
  scalesTo?: Float32Array;
  minimaTo?: Float32Array;
  valuesTo?: Float32Array;
  /** The same rows of the float weight, of numbers of a type. */
  reference?: Uint8Array;
  referenceType?: NativeFloat;
}

/** Rows of numbers to be rounded. */
export interface NativeGgmlWeights extends NativeGgmlRows {
  input: Uint8Array;
  inputType: NativeFloat;
  /** What the square of each input's error counts. */
  importance: Float32Array | null;
  output: Uint8Array;
}
