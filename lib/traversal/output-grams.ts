import type { LayerRows } from '../fit/layer-rows';
import type { FitLayer } from './layer';

/** How errors of a layer's output channels go together: the Gram matrices of the gradients of a loss by them. */
export interface OutputGrams<Layer extends FitLayer> {
  /** Of a layer, as rows of outFeatures numbers; null where its neurons are fitted each by itself. */
  of(layer: Layer): Promise<LayerRows | null>;
  /** Why they are; null where they are not. */
  reasonOf(layer: Layer): string | null;
}
