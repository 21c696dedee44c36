import { mostBits, widerWarnings } from '../encodings/wider-codes';
import type { AlphabetKind } from '../options';
import type { ModelLayer } from './layers/model-layers';
import type { ModelSettings } from './model-options';
import type { OpenModel } from './open-model';
import type { Warning } from '../warning-codes';

/** What layers will take in the output. */
export class PlannedBytes {
  private readonly alike = new Map<unknown, ModelLayer[]>();

  constructor(
    private readonly opened: OpenModel,
    private readonly layers: readonly ModelLayer[],
    private readonly settings: ModelSettings,
    private readonly hasData: boolean,
  ) {
    for (const layer of layers) this.alikeOf(layer).push(layer);
  }

  /** Those that share a layer's codes, itself among them. */
  alikeOf({ source }: ModelLayer): ModelLayer[] {
    const known = this.alike.get(source) ?? [];
    this.alike.set(source, known);
    return known;
  }

  /** Bytes of a layer's tensors, unless zero points that are all 0 are left out. */
  of(layer: ModelLayer, { grid, levels }: Pick<AlphabetKind, 'grid' | 'levels'> = layer.settings): number {
    const { outFeatures, inFeatures, settings } = layer;
    const codes = { grid, levels, groupSize: settings.groupSize, outFeatures, inFeatures };
    const { model } = this.opened;
    const surroundings = { model, alike: this.alikeOf(layer), hasData: this.hasData };
    return this.settings.encoding.lengthOf(layer, surroundings, codes);
  }

  /** Which layers could have more bits in the same bytes. */
  warnings(): Warning[] {
    const { encoding, format } = this.settings;
    if (encoding.isPlain) return [];
    return widerWarnings(
      format,
      this.layers.map((layer) => ({
        name: layer.name,
        bits: layer.settings.bits,
        most: mostBits(layer.settings, (scheme) => this.of(layer, scheme)),
      })),
    );
  }
}
