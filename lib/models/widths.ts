import type { LayerSettings } from '../fit/layer-settings';
import type { Width } from '../sensitivity/types';
import type { ModelLayer } from './layers/model-layers';
import { checkModelOptions, layerSettings } from './model-options';
import type { OpenModel } from './open-model';
import type { ModelOptions } from './types';

/** What a layer could be stored in. */
export interface PossibleWidth {
  width: Width;
  settings: LayerSettings;
  bytes: number;
}

/** Widths that are tried, and inputs that share a scale where options do not say how many. */
const bits = [2, 3, 4, 5, 6, 8] as const;
const groupSizes = [16, 32, 64, 128] as const;

/**
 * The widths that a format holds layers in, by layer: each in fewer bytes than the wider ones, in the order of their bytes. `options`: with the method by which they
 * are tried. `alikeOf`: the layers that share a layer's codes.
 */
export function possibleWidths(
  { model }: OpenModel,
  layers: readonly ModelLayer[],
  options: ModelOptions,
  alikeOf: (layer: ModelLayer) => ModelLayer[],
): Map<ModelLayer, PossibleWidth[]> {
  const found = new Map(layers.map((layer) => [layer, [] as PossibleWidth[]]));
  for (const width of widthsOf(options)) {
    let settings;
    try {
      settings = checkModelOptions({ ...options, ...width });
    } catch (error) {
      // A width that the format does not have.
      if (error instanceof RangeError) continue;
      throw error;
    }
    const { encoding } = settings;
    for (const layer of layers) {
      const { outFeatures, inFeatures } = layer;
      const own = { ...layerSettings(settings, layer), stored: encoding.stored(layer) };
      // Wider than the layer, groups are those of a channel.
      if (width.groupSize !== undefined && own.groupSize < Number(width.groupSize)) continue;
      const { grid, levels, groupSize } = own;
      const codes = { grid, levels, groupSize, outFeatures, inFeatures };
      const bytes = encoding.lengthOf(layer, { model, alike: alikeOf(layer), hasData: true }, codes);
      found.get(layer)!.push({ width, settings: own, bytes });
    }
  }
  for (const [layer, all] of found)
    found.set(
      layer,
      all
        .sort((a, b) => a.bytes - b.bytes || b.settings.bits - a.settings.bits)
        .filter(({ bytes }, i) => i === 0 || bytes > all[i - 1]!.bytes),
    );
  return found;
}

function widthsOf({ groupSize }: ModelOptions): Width[] {
  if (groupSize !== undefined) return bits.map((width) => ({ bits: width }));
  return bits.flatMap((width) => [
    ...groupSizes.map((size) => ({ bits: width, groupSize: size })),
    { bits: width, groupSize: 'channel' as const },
  ]);
}
