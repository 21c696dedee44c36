import type { Coded } from '../native/tensors';
import type { LayerReport, TensorLike } from '../types';
import type { FitLayer } from './layer';

/** A part of a network that ends with a value that layers see. */
export interface Stage<Layer extends FitLayer> {
  /** What messages call the value. */
  readonly target: string;
  /** The layers that see it. */
  readonly layers: readonly Layer[];
  /** Whether it depends on weights that are quantized before: else both networks give the same. */
  readonly changes: boolean;
  /**
   * Whether it tells what the layers of the stage before would see of all rows, where the network picks those that they see (experts): it is
   * run if these are too few.
   */
  readonly ofAll?: boolean;
  /** Where it ends a block that is tuned when all of its layers are fitted: these. */
  readonly block?: readonly Layer[];
}

/** Data that is run at once. */
export interface Batch {
  /** Whether it is kept out of the fit. */
  readonly heldOut: boolean;
  /** Its part of all numbers of its kind. */
  readonly share: number;
}

/** A stage's value. */
export interface Seen {
  /** In the network as quantized so far. */
  seen: TensorLike;
  /** In the float network. */
  float: TensorLike | undefined;
}

/** What has become of a weight: its codes, or its values where codes are not known any more. */
export type Outcome = { report: LayerReport } & (Coded | { values: Float32Array });

/** Of which batches a stage's value is wanted of the float network too. */
export type FloatBatches = 'none' | 'heldOut' | 'all';

/** Runs a network part by part, each once, in two forms: in float, and with the weights that are quantized so far. */
export interface Forward<Layer extends FitLayer> {
  readonly batches: readonly Batch[];
  /** Samples of the batches. */
  readonly samples: { readonly fit: number; readonly holdout: number };
  /** About how many rows a value has, of all the data; default: as many as samples. */
  readonly rows?: number;
  /**
   * Layers that see no value of a stage and are rounded before the first, as what comes behind them sees that. Those that are neither
   * here nor in a stage take over what another layer of the same source has got.
   */
  readonly first: readonly Layer[];
  /** In the order in which they are run. */
  readonly stages: readonly Stage<Layer>[];
  /**
   * Runs the next stage on each batch; `onBatch` gets the value, of the batches that `float` says in both networks. Resolves to the rank of
   * the value. Memory: besides what lives between stages, one batch's. Where no layer corrects errors the float network is run on what is
   * held out at the most.
   */
  run(
    stage: Stage<Layer>,
    float: FloatBatches,
    onBatch: (batch: number, value: Seen) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<number>;
  /** Passes over the next stage, which is `ofAll`. */
  skip?(stage: Stage<Layer>): Promise<void>;
  /** Lets the stages that are still to be run compute with what has become of a layer's weight. */
  substitute(layer: Layer, quantized: Outcome, signal: AbortSignal | undefined): Promise<void>;
}
