import type { NativeFloat } from '../native/binding';
import type { AlphabetKind, MethodSettings, RankRule } from '../options';
import type { FloatArray } from '../types';
import type { LayerRows } from './layer-rows';

/** A layer whose data is already accumulated. */
export interface WeightsInput {
  name: string;
  kind: string;
  weight: FloatArray;
  outFeatures: number;
  inFeatures: number;
  calibration: LayerRows | null;
  holdout: LayerRows | null;
  /**
   * The held-out rows as the report tells of them, where the fit keeps them otherwise: without weights, and with what the float network gave.
   */
  reported?: LayerRows | null;
  /** Whether the rows are what the float network gives. */
  areFloat?: boolean;
  /** Gradients by the outputs, as rows of outFeatures numbers: channels make up for errors of each other. null, and by default: each neuron is fitted by itself. */
  outputs?: LayerRows | null;
  /** The part of the correction of errors before the layer that is asked for (default 1). */
  correction?: number;
}

/** What a report tells of one: of its weight, how large it was. */
export type ReportedLayer = Omit<WeightsInput, 'weight'> & { weight: Pick<FloatArray, 'BYTES_PER_ELEMENT'> };

/** Options with every default filled in. */
export interface LayerSettings extends AlphabetKind, RankRule, MethodSettings {
  groupSize: number;
  /** For how many seconds passes are begun, in place of their number. */
  passSeconds?: number;
  /** A block type of GGUF files whose grid and groups these are: scales and minima as its blocks hold them. */
  blockType?: string;
  /** How the result will be kept; default: float32 scales and codes. */
  stored?: StoredTypes;
}

/** What scales are rounded to and, where values on the grid are kept instead of codes, these. */
export interface StoredTypes {
  scales: NativeFloat;
  values: NativeFloat | null;
}
