import type { QuantizedLayer } from '../types';
import type { Stage } from './forward';
import type { FitLayer } from './layer';

/** A layer that is fitted, and may still change. */
export interface Fitted<Layer extends FitLayer> {
  readonly layer: Layer;
  readonly quantized: QuantizedLayer;
}

/** Changes the layers of a block together, once all of them are fitted. */
export interface BlockTuning<Layer extends FitLayer> {
  /** Whether it could change a layer: others are stored as soon as they are fitted. */
  takes(layer: Layer): boolean;
  /** What becomes of the layers of a block, in their order. `onStep` is told how far it is. Rejects with what running the network brings; with the signal's reason. */
  tune(
    stage: Stage<Layer>,
    fitted: readonly Fitted<Layer>[],
    signal: AbortSignal | undefined,
    onStep: (done: number, total: number) => void,
  ): Promise<QuantizedLayer[]>;
}
