import type { GgufTypeName } from './encodings/names';
import { exactName, matcher, requirePatterns } from './globs';
import { inPlace } from './options/messages';
import { methodOptionNames, takes, traitsOf } from './methods';
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
  options: FitOptions;
  /** Of tensors in GGUF files. */
  blockType?: GgufTypeName;
}

/**
 * The option `overrides`, which has been checked by itself. Throws what `check` does where one contradicts what holds for all layers, and
 * in which it is.
 */
export function overridesOf(
  given: readonly GivenOverride[] | undefined,
  check: (override: Override) => void,
): readonly Override[] {
  return (given ?? []).map(({ layers, blockType, ...options }, i) => {
    const place = `overrides[${i}]`;
    return inPlace(
      place,
      () => {
        const globs = requirePatterns('layers', layers);
        const override = {
          place,
          globs,
          options,
          ...(blockType && { blockType }),
        };
        check(override);
        return override;
      },
      { within: true },
    );
  });
}

/**
 * Finds those whose globs match a name, in their order. There may be one for each of very many names: such are looked up. `formsOf`: all
 * that a name may be called.
 */
export function overrideFinder(
  overrides: readonly Override[],
  formsOf: (name: string) => readonly string[] = (name) => [name],
): (name: string) => Override[] {
  const exact = new Map<string, number[]>();
  const patterns: [place: number, matches: (name: string) => boolean][] = [];
  for (const [i, { globs }] of overrides.entries()) {
    const others: string[] = [];
    for (const glob of globs) {
      const name = exactName(glob);
      const places = name !== undefined ? exact.get(name) : undefined;
      if (places) places.push(i);
      else if (name !== undefined) exact.set(name, [i]);
      else others.push(glob);
    }
    if (others.length > 0) patterns.push([i, matcher(others)]);
  }
  return (name) => {
    const found = new Set<number>();
    const forms = formsOf(name);
    for (const form of forms) for (const place of exact.get(form) ?? []) found.add(place);
    for (const [place, matches] of patterns) if (forms.some(matches)) found.add(place);
    return [...found].sort((a, b) => a - b).map((place) => overrides[place]!);
  };
}

/** As users give one. */
interface GivenOverride extends FitOptions {
  layers: string | readonly string[];
  blockType?: GgufTypeName;
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
