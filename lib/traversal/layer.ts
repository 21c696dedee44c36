import type { LayerSettings } from '../fit/layer-settings';
import type { Buffers } from '../native/buffers';
import type { FloatArray, JobOptions, QuantizedLayer } from '../types';

export const autoPads = ['NOTSET', 'SAME_UPPER', 'SAME_LOWER', 'VALID'] as const;

/** How a convolution's kernel goes over its input, one entry per spatial axis; `pads` holds all begins, then all ends. */
export interface ConvGeometry {
  kernel: number[];
  strides: number[];
  dilations: number[];
  /** Where `autoPad` says so, they follow from the size of the input. */
  pads: number[];
  autoPad: (typeof autoPads)[number];
}

/** How a value gives the rows that a weight is multiplied with. */
export type RowsOf =
  /** Each line along an axis is a row; −1 is the last axis. With groups, the line falls into as many rows. */
  | { kind: 'axis'; axis: number }
  /** What each output position of a convolution is computed from, for each group. */
  | { kind: 'patches'; geometry: ConvGeometry };

/** Where a weight comes from. */
export interface WeightSource {
  /** As it is stored. */
  readonly byteLength: number;
  /** W, [outFeatures, inFeatures]. */
  read(signal?: AbortSignal): Promise<FloatArray>;
  /** Plain rounding of a layer that sees no rows, without W in memory, in kept buffers, which its codes are in too; undefined where it has to be read. */
  round?(layer: FitLayer, options: JobOptions, buffers: Buffers): Promise<QuantizedLayer | undefined>;
}

/** A weight to quantize, and how. */
export interface FitLayer {
  readonly name: string;
  readonly kind: string;
  /** Neurons, of all groups. */
  readonly outFeatures: number;
  /** Inputs of each neuron. */
  readonly inFeatures: number;
  /** As many groups of equally many neurons, one behind the other, have inputs of their own (grouped convolution). */
  readonly groups: number;
  /** How what it sees becomes rows; null where it sees nothing. */
  readonly input: { readonly rows: RowsOf } | null;
  /** Layers of one source share codes (a tied weight): it is quantized once, for the first of them that has its turn. */
  readonly source: WeightSource;
  readonly settings: LayerSettings;
  /** Whether it is fitted to what the float network gives. */
  readonly errorCorrection: boolean;
  /** Whether the network picks its rows (an expert): there may be none, and those of the float network may be others. */
  readonly routed?: boolean;
}

/** Where each is in a list, without going through it for each. */
export const placesIn = <Layer>(layers: readonly Layer[]): ReadonlyMap<Layer, number> =>
  new Map(layers.map((layer, i) => [layer, i]));

/** Layers by what their weights come from: very many may share one. */
export function bySource<Layer extends Pick<FitLayer, 'source'>>(
  layers: readonly Layer[],
): ReadonlyMap<WeightSource, readonly Layer[]> {
  const found = new Map<WeightSource, Layer[]>();
  for (const layer of layers) {
    const own = found.get(layer.source);
    if (own) own.push(layer);
    else found.set(layer.source, [layer]);
  }
  return found;
}
