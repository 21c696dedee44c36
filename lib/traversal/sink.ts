import type { LayerReport, QuantizedLayer } from '../types';
import type { Outcome } from './forward';
import type { FitLayer } from './layer';

/** What a sink has made of a weight. */
export interface Stored {
  /** Bytes that it takes now. */
  readonly bytes: number;
}

/** Where quantized weights go: tensors of a graph, places in a file. */
export interface Sink<Layer extends FitLayer, Made extends Stored> {
  /** Takes a weight over, once for all layers that share it; keeps nothing of its codes, whose memory is used again. Errors name no layer. */
  store(layer: Layer, quantized: QuantizedLayer, signal?: AbortSignal): Promise<Made>;
  /** Whether it has a layer of an earlier run, which `restore` then gives as it was, and is not stored again. */
  has?(layer: Layer): boolean | Promise<boolean>;
  restore?(layer: Layer, signal?: AbortSignal): Promise<Done<Made>>;
}

/** A weight that is quantized. */
export interface Done<Made> {
  quantized: Outcome;
  stored: Made;
}

/** A layer that is done. */
export interface DoneLayer<Layer extends FitLayer, Made extends Stored> {
  layer: Layer;
  /** Shared by the layers that share a weight. */
  stored: Made;
  report: LayerReport;
  /** Rank of the value that the layer sees, where it is known. */
  activationRank: number | undefined;
}

/** Layers that an earlier run has fitted, and where this one keeps its own. */
export interface FitJournal {
  /** Bytes of weights that were found. */
  resumed: number;
  has(key: string): boolean;
  find(key: string): Promise<QuantizedLayer | undefined>;
  keep(key: string, layer: QuantizedLayer): Promise<void>;
}
