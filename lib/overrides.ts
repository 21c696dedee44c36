import { matcher, requirePatterns } from './globs';
import { inPlace } from './option-checks';
import { methodNames, methodOptionNames, takes, traitsOf } from './methods';
import { describe, requireKnown } from './options';
import type { JobOptions, Method, QuantizeOptions } from './types';

// The options of single layers, of models and of checkpoints.

/** Options that say how a layer is fitted: those that may differ from layer to layer. */
export interface FitOptions extends Omit<QuantizeOptions, keyof JobOptions> {
  errorCorrection?: boolean;
}

/** What is different for some layers. */
export interface Override {
  /** Where messages say it is: `overrides[0]`. */
  place: string;
  globs: readonly string[];
  matches: (name: string) => boolean;
  options: FitOptions;
}

/** How overrides are read. */
interface Reading {
  /** The options that they may give. */
  names: readonly (keyof FitOptions)[];
  matcherOf?: (globs: readonly string[]) => (name: string) => boolean;
  /** Throws where one contradicts what holds for all layers. */
  check: (override: Override) => void;
}

/** Checks the option `overrides`. Throws a TypeError or RangeError that says in which of them something is wrong. */
export function requireOverrides(
  given: unknown,
  { names, matcherOf = matcher, check }: Reading,
): readonly Override[] {
  if (given !== undefined && !Array.isArray(given))
    throw new TypeError(
      `Expected the "overrides" option to be an array of objects, { layers, bits, … }, not ${describe(given)}`,
    );
  return Array.from((given ?? []) as unknown[], (item, i) => {
    const place = `overrides[${i}]`;
    return inPlace(place, () => {
      const { globs, options } = requireOverride(item, names);
      const override = { place, globs, matches: matcherOf(globs), options };
      check(override);
      return override;
    });
  });
}

function requireOverride(
  item: unknown,
  names: readonly (keyof FitOptions)[],
): Pick<Override, 'globs' | 'options'> {
  requireKnown(item as object, ['layers', ...names]);
  const { layers, ...options } = item as FitOptions & { layers?: unknown };
  if (layers === undefined)
    throw new TypeError('Expected "layers", a glob or an array of globs: the layers that it is about');
  const globs = requirePatterns('layers', layers);
  if (globs.length === 0)
    throw new RangeError('The "layers" option is empty: there are no layers that it is about');
  if (Object.values(options).every((value) => value === undefined))
    throw new RangeError(`There is nothing but "layers": give one of ${names.join(', ')}`);
  return { globs, options };
}

/** What holds for all layers, with what does for some. */
export interface Overlaid {
  options: FitOptions;
  /** What the latter gave. */
  asked: ReadonlySet<string>;
}

/** Of several overrides later ones win, option by option. */
export function overlay(common: FitOptions, own: readonly Override[]): Overlaid {
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
  return { options, asked };
}

/** These options but what the layer's method does not take: unless its own overrides ask for it, which is an error to be found. */
export function forMethod(method: Method, { options: given, asked }: Overlaid): FitOptions {
  const options = { ...given };
  // What is no method is left for the check.
  if (!methodNames.includes(method)) return options;
  for (const name of methodOptionNames) if (!asked.has(name) && !takes(method, name)) delete options[name];
  const { scales, correctsErrors } = traitsOf(method);
  if (options.scale && !scales.includes(options.scale) && !asked.has('scale')) delete options.scale;
  if (!correctsErrors && !asked.has('errorCorrection')) delete options.errorCorrection;
  return options;
}

/** Runs `fit`, for a layer with such overrides; a TypeError or RangeError that it throws says of which. */
export function fitOverridden<Result>(layer: string, own: readonly Override[], fit: () => Result): Result {
  if (own.length === 0) return fit();
  return inPlace(`${layer}, of ${own.map(({ place }) => place).join(' and ')}`, fit);
}
