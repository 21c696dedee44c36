import { matcher, requirePatterns } from '../globs';
import { describe, fitsMoments, methodOptionNames, requireKnown, takersOf } from '../options';
import { type FitOptions, fitOptionNames, type FitSettings, fitSettings } from './fit-settings';
import { requireMatches } from './layers/choose-layers';
import type { Layer } from './layers/layer';
import { inPlace } from '../option-checks';

interface Override {
  /** Where messages say it is: `overrides[0]`. */
  place: string;
  globs: readonly string[];
  matches: (name: string) => boolean;
  options: FitOptions;
}

/** What holds for all layers but those that have options of their own. */
export interface Common {
  options: FitOptions;
  hasData: boolean;
  format: string;
}

/** The options of single layers. Where several fit a layer, later ones win, option by option. */
export class Overrides {
  private constructor(
    private readonly list: readonly Override[],
    private readonly common: Common,
    private readonly settings: FitSettings,
  ) {}

  /** Checks the option `overrides`, each together with what holds for all layers, whose `settings` are those. */
  static of(given: unknown, common: Common, settings: FitSettings): Overrides {
    if (given !== undefined && !Array.isArray(given))
      throw new TypeError(
        `Expected the "overrides" option to be an array of objects, { layers, bits, … }, not ${describe(given)}`,
      );
    const list = ((given ?? []) as unknown[]).map((item, i) => {
      const place = `overrides[${i}]`;
      return inPlace(place, () => {
        const override = checkOverride(item, place);
        fitSettings(merged(common, [override]), common.hasData, common.format);
        return override;
      });
    });
    return new Overrides(list, common, settings);
  }

  /** How a layer is fitted. */
  settingsOf(name: string): FitSettings {
    const own = this.list.filter(({ matches }) => matches(name));
    if (own.length === 0) return this.settings;
    const { hasData, format } = this.common;
    return inPlace(`layer "${name}", of ${own.map(({ place }) => place).join(' and ')}`, () =>
      fitSettings(merged(this.common, own), hasData, format),
    );
  }

  /** Throws, before any work, at a glob that matches no layer, and where options for one layer contradict each other. */
  requireFit(layers: readonly Layer[], file: string): void {
    for (const { place, globs } of this.list) requireMatches(`${place}.layers`, globs, layers, file);
    for (const { name } of layers) this.settingsOf(name);
  }
}

function checkOverride(item: unknown, place: string): Override {
  requireKnown(item as object, ['layers', ...fitOptionNames]);
  const { layers, ...options } = item as FitOptions & { layers?: unknown };
  if (layers === undefined)
    throw new TypeError('Expected "layers", a glob or an array of globs: the layers that it is about');
  const globs = requirePatterns('layers', layers);
  if (globs.length === 0)
    throw new RangeError('The "layers" option is empty: there are no layers that it is about');
  if (Object.values(options).every((value) => value === undefined))
    throw new RangeError(`There is nothing but "layers": give one of ${fitOptionNames.join(', ')}`);
  return { place, globs, matches: matcher(globs), options };
}

/** What holds for all layers, with what does for some. What their method does not take, and they do not ask for, goes. */
function merged({ options: common, hasData }: Common, own: readonly Override[]): FitOptions {
  const asked = new Set<string>();
  let options: FitOptions = { ...common };
  for (const override of own) {
    const given = Object.fromEntries(
      Object.entries(override.options).filter(([, value]) => value !== undefined),
    ) as FitOptions;
    // Each says how many levels there are.
    if (given.bits !== undefined && given.levels === undefined) delete options.levels;
    if (given.levels !== undefined && given.bits === undefined) delete options.bits;
    options = { ...options, ...given };
    for (const name of Object.keys(given)) asked.add(name);
  }
  const method = options.method ?? (hasData ? 'vertex' : 'msq');
  for (const name of methodOptionNames)
    if (!asked.has(name) && !takersOf(name).includes(method)) delete options[name];
  if (method === 'maly-saab' && options.scale === 'search' && !asked.has('scale')) delete options.scale;
  if (!fitsMoments(method) && !asked.has('errorCorrection')) delete options.errorCorrection;
  return options;
}
