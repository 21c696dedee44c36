import type { Encoding } from '../encodings/encoding';
import { defaultMethod } from '../methods';
import {
  type FitOptions,
  fitOverridden,
  forMethod,
  type Override,
  overlay,
  overrideFinder,
  overridesOf,
} from '../overrides';
import { type FitSettings, fitSettings } from './fit-settings';
import { namesIn, requireMatches } from './layers/choose-layers';
import type { Layer } from './layers/layer';
import type { ModelOptions } from './types';

/** What holds for all layers but those that have options of their own. */
export interface Common {
  options: FitOptions;
  hasData: boolean;
  encoding: Encoding;
}

/** The options of single layers. Where several fit a layer, later ones win, option by option. */
export class Overrides {
  /** Those about a layer, in their order. */
  readonly of: (name: string) => readonly Override[];

  private constructor(
    private readonly list: readonly Override[],
    private readonly common: Common,
    private readonly settings: FitSettings,
  ) {
    this.of = overrideFinder(list);
  }

  /** Checks the option `overrides`, each together with what holds for all layers, whose `settings` are those. */
  static of(given: ModelOptions['overrides'], common: Common, settings: FitSettings): Overrides {
    const check = (override: Override) => settingsWith(common, [override]);
    return new Overrides(overridesOf(given, check), common, settings);
  }

  /** How a layer is fitted. */
  settingsOf(name: string): FitSettings {
    const own = this.of(name);
    if (own.length === 0) return this.settings;
    return fitOverridden(`layer "${name}"`, own, () => settingsWith(this.common, own));
  }

  /** Throws, before any work, at a glob that matches no layer, and where options for one layer contradict each other. */
  requireFit(layers: readonly Layer[], file: string): void {
    const names = namesIn(layers);
    for (const { place, globs } of this.list) requireMatches(`${place}.layers`, globs, names, file);
    for (const { name } of layers) this.settingsOf(name);
  }
}

function settingsWith({ options, hasData, encoding }: Common, own: readonly Override[]): FitSettings {
  const overlaid = overlay(options, own);
  const method = overlaid.options.method ?? defaultMethod(hasData);
  return fitSettings(forMethod(method, overlaid), hasData, encoding);
}
