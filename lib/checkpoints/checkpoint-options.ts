import { type CheckpointFormat, checkpointFormats, namesOf } from '../encodings/names';
import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import { checkpointEncodings } from '../encodings/safetensors/table';
import { requirePatterns } from '../globs';
import type { LayerSettings } from '../layers/quantize-weights';
import { defaultMethod, plainMethod } from '../methods';
import { flag } from '../option-checks';
import {
  alphabetKind,
  checkJobOptions,
  describe,
  groupSizeFor,
  methodSettings,
  rankRule,
  requireInteger,
  requireKnown,
  requireOneOf,
} from '../options';
import { forMethod, type Override, overlay, requireOverrides } from '../overrides';
import { eitherName } from './choose-weights';
import { checkpointOptionNames } from './option-names';
import type { CheckpointOptions } from './types';

const overrideNames = ['bits', 'levels', 'grid', 'groupSize', 'method'] as const;
const defaultMemory = 768 * 2 ** 20;
/** Two pieces of work at a time, and what goes with them. */
export const leastMemory = 128 * 2 ** 20;
/** Inputs of a layer that is not known yet. */
const anyInputs = 2 ** 20;

/** The options of a checkpoint with defaults filled in; what depends on a weight's size is left for weightSettings. */
export interface CheckpointSettings {
  options: CheckpointOptions;
  activations: readonly string[];
  holdout: number;
  format: CheckpointFormat;
  encoding: CheckpointEncoding;
  layers: readonly string[] | undefined;
  skip: readonly string[];
  overrides: readonly Override[];
  memory: number;
  resume: boolean;
  /** Whether weights that are quantized already may stay as they are. */
  allowQuantized: boolean;
}

export function checkPaths(input: unknown, output: unknown): void {
  for (const [what, path] of [
    ['input', input],
    ['output', output],
  ] as const)
    if (typeof path !== 'string' || path === '')
      throw new TypeError(
        `Expected the ${what} to be the path of a safetensors file or a folder of them, not ${describe(path)}`,
      );
}

/** Checks all options, with and without data, before any file is touched. */
export function checkCheckpointOptions(given: CheckpointOptions): CheckpointSettings {
  requireKnown(given, checkpointOptionNames);
  checkJobOptions(given);
  const options = { ...given };
  const formats = namesOf(checkpointFormats);
  const format = requireOneOf('format', options.format ?? formats[0]!, formats);
  const settings: CheckpointSettings = {
    options,
    activations: options.activations === undefined ? [] : requirePaths(options.activations),
    holdout: holdoutFor(options),
    format,
    encoding: checkpointEncodings[format],
    layers: options.layers === undefined ? undefined : requirePatterns('layers', options.layers),
    skip: options.skip === undefined ? [] : requirePatterns('skip', options.skip),
    overrides: [],
    memory:
      options.memory === undefined
        ? defaultMemory
        : requireInteger('memory', options.memory, leastMemory, Number.MAX_SAFE_INTEGER),
    resume: flag('resume', options.resume) ?? false,
    allowQuantized: flag('allowQuantized', options.allowQuantized) ?? false,
  };
  if (settings.layers?.length === 0)
    throw new RangeError('The "layers" option is empty: leave it out to quantize all that is usual');
  const hasData = settings.activations.length > 0;
  methodSettings(options, hasData);
  weightSettings(settings, [], anyInputs, hasData);
  const check = (override: Override) => {
    const { method } = override.options;
    if (method !== undefined) methodSettings({ method }, hasData);
    weightSettings(settings, [override], anyInputs, hasData);
  };
  const overrides = requireOverrides(options.overrides, {
    ...{ names: overrideNames, matcherOf: eitherName, check },
  });
  return { ...settings, overrides };
}

function requirePaths(value: string | readonly string[]): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  if (!list.every((path): path is string => typeof path === 'string' && path !== '') || list.length === 0)
    throw new TypeError(
      `Expected the "activations" option to be the path of a safetensors file, or several, not ${describe(value)}`,
    );
  return list;
}

function holdoutFor({ holdout, activations }: CheckpointOptions): number {
  if (holdout === undefined) return 0.1;
  if (activations === undefined)
    throw new RangeError(
      'The "holdout" option needs "activations": without data there is nothing to hold out',
    );
  if (typeof holdout !== 'number')
    throw new TypeError(`Expected the "holdout" option to be a number, not ${describe(holdout)}`);
  if (!(holdout >= 0 && holdout < 1))
    throw new RangeError(
      `Expected the "holdout" option to be a fraction from 0 and below 1, not ${describe(holdout)}`,
    );
  return holdout;
}

/** The settings of a weight with such overrides. Without data its method is the plain one, whatever the options say. */
export function weightSettings(
  { options, encoding }: Pick<CheckpointSettings, 'options' | 'encoding'>,
  own: readonly Override[],
  inFeatures: number,
  hasData: boolean,
): LayerSettings {
  const overlaid = overlay(options, own);
  if (!hasData) overlaid.options.method = plainMethod;
  const merged = forMethod(overlaid.options.method ?? defaultMethod(hasData), overlaid);
  const settings: LayerSettings = {
    ...alphabetKind(merged, (levels) => encoding.gridFor(levels, merged.levels !== undefined)),
    ...methodSettings(merged, hasData),
    groupSize: groupSizeFor(merged, inFeatures, encoding.groupSize),
    ...rankRule(merged, inFeatures, 'auto'),
  };
  encoding.check(settings);
  return settings;
}
