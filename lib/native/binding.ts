import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { VertexqError } from '../errors';
import type { Box, FloatArray, Grid } from '../types';

/** A running native job. */
export interface NativeJob<Result> {
  promise: Promise<Result>;
  /** Makes the promise reject with the code ERR_VERTEXQ_CANCELLED at the job's next checkpoint. */
  cancel(): void;
  progress(): { done: number; total: number };
}

/** Calibration data, kept natively as at most inFeatures rows whatever the number of samples. */
export interface NativeCalibration {
  add(rows: FloatArray): NativeJob<void>;
  setGram(gram: Float64Array): NativeJob<void>;
  readonly samples: number;
}

export interface NativeLayer {
  weight: FloatArray;
  outFeatures: number;
  inFeatures: number;
  calibration: NativeCalibration | null;
  holdout: NativeCalibration | null;
  grid: Grid;
  levels: number;
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
  residual: number;
  rank: number;
  scales: Float64Array;
  zeroPoints: Float64Array;
  lowest: Float64Array;
  highest: Float64Array;
}

export interface Norms {
  error: number;
  signal: number;
}

export interface NativeQuantized {
  codes: Int8Array;
  scales: Float32Array;
  zeroPoints: Float32Array;
  rank: number;
  offAlphabet: number;
  bound: Float64Array | null;
  norms: { weight: Norms; calibration: Norms | null; holdout: Norms | null };
}

/** The addon's exports (native/addon/addon.cpp). It checks types and lengths; what options mean is checked before it. */
export interface Binding {
  Calibration: new (inFeatures: number) => NativeCalibration;
  preprocess(layer: NativeLayer): NativeJob<NativePreprocessed>;
  quantize(
    layer: NativeLayer & { method: 'maly-saab' | 'msq'; scale: 'max' | 'search' },
  ): NativeJob<NativeQuantized>;
  blasInfo(): { config: string; core: string; maxThreads: number };
}

const root = join(__dirname, '..', '..');
const places = [
  join(root, 'build', 'Release', 'vertexq.node'),
  join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'vertexq.node'),
];

let loaded: Binding | undefined;

/** The addon, loaded on first need. Throws ERR_VERTEXQ_ADDON where it was not built or cannot be loaded. */
export function binding(): Binding {
  return (loaded ??= load());
}

function load(): Binding {
  const file = places.find(existsSync);
  if (file === undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_ADDON',
      `The native addon was not found at ${places[0]}. Build it with "npm rebuild vertexq", or "npm run setup" in a clone.`,
    );
  try {
    return require(file) as Binding;
  } catch (cause) {
    throw new VertexqError(
      'ERR_VERTEXQ_ADDON',
      `The native addon ${file} could not be loaded (${(cause as Error).message}). ` +
        'Are OpenBLAS and LAPACKE installed (Debian: libopenblas0 liblapacke)? "npm rebuild vertexq" builds it anew.',
      { cause },
    );
  }
}
