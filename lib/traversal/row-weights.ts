import type { LayerRows } from '../fit/layer-rows';
import type { FitLayer } from './layer';

/** How often each row of what layers see counts in their fits. */
export interface RowWeights<Layer extends FitLayer> {
  /** Of each row of a layer in a batch; null where they all count alike. */
  of(layer: Layer, batch: number): Promise<Float32Array | null>;
  /** Why they do; null where they do not. */
  reasonOf(layer: Layer): string | null;
  /** The part of the correction of errors before a layer that its fit is to ask for. */
  correctionOf(rows: LayerRows): number;
}
