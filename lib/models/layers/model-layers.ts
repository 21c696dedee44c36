import type { FitLayer, WeightSource } from '../../traversal/layer';
import { fitOf, layerSettings, type ModelSettings } from '../model-options';
import { dataLength } from '../../containers/onnx/tensor';
import type { TensorProto } from '../../containers/onnx/onnx_pb';
import type { Weights } from '../../containers/onnx/weights';
import { type Layer, storageOf } from './layer';
import { roundWeight } from './round-weight';
import { weightOf } from './weight-values';

/** A layer of a network as a traversal sees it. */
export type ModelLayer = Layer &
  FitLayer & {
    /** Whether it only takes over what a layer of the same source gets: it makes another's `wider`. */
    follows?: boolean;
  };

/** Layers with their weights and settings: those that use one tensor in one form share its codes. */
export function modelLayers(
  layers: readonly Layer[],
  weights: Weights,
  settings: ModelSettings,
): ModelLayer[] {
  const sources = new Map<TensorProto, Map<string, WeightSource>>();
  return layers.map((layer) => {
    const { tensor } = layer.constant;
    const forms = sources.get(tensor) ?? new Map<string, WeightSource>();
    sources.set(tensor, forms);
    const form = storageOf(layer);
    const source = forms.get(form) ?? {
      byteLength: dataLength(tensor),
      read: (signal) => weightOf(layer, weights, signal),
      round: ({ name, kind, settings: own }, options, buffers) =>
        roundWeight({ ...layer, name, kind }, weights, own, options, buffers),
    };
    forms.set(form, source);
    return {
      ...layer,
      source,
      settings: { ...layerSettings(settings, layer), stored: settings.encoding.stored(layer) },
      errorCorrection: fitOf(settings, layer).errorCorrection,
    };
  });
}
