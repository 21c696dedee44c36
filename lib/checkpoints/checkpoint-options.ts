import { requirePatterns } from '../globs';
import type { LayerSettings } from '../layers/quantize-weights';
import { flag } from '../option-checks';
import {
  alphabetKind,
  checkJobOptions,
  describe,
  groupSizeFor,
  layerGrid,
  methodSettings,
  rankRule,
  requireInteger,
  requireKnown,
  requireOneOf,
} from '../options';
import { forMethod, type Override, overlay, requireOverrides } from '../overrides';
import type { Grid } from '../types';
import { eitherName } from './choose-weights';
import { checkpointOptionNames } from './option-names';
import type { CheckpointFormat, CheckpointOptions } from './types';

const overrideNames = ['bits', 'levels', 'grid', 'groupSize', 'method'] as const;
const formats: readonly CheckpointFormat[] = ['compressed-tensors', 'gptq', 'gptq_v2', 'float'];
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
  const settings: CheckpointSettings = {
    options,
    activations: options.activations === undefined ? [] : requirePaths(options.activations),
    holdout: holdoutFor(options),
    format:
      options.format === undefined ? 'compressed-tensors' : requireOneOf('format', options.format, formats),
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

/**
 * The grid that current readers of a format load: zero points of `compressed-tensors` not all of them do, so only an even number of levels,
 * which was asked for, has some there.
 */
function gridOf(format: CheckpointFormat, isCounted: boolean): (levels: number) => Grid {
  if (format === 'float') return layerGrid;
  const hasZeroPoints = format === 'gptq_v2' || (format === 'compressed-tensors' && isCounted);
  return (levels) => (hasZeroPoints && levels >= 3 ? 'asymmetric' : 'integer');
}

/** The settings of a weight with such overrides. Without data its method is `msq`, whatever the options say. */
export function weightSettings(
  { options, format }: Pick<CheckpointSettings, 'options' | 'format'>,
  own: readonly Override[],
  inFeatures: number,
  hasData: boolean,
): LayerSettings {
  const overlaid = overlay(options, own);
  if (!hasData) overlaid.options.method = 'msq';
  const merged = forMethod(overlaid.options.method ?? 'vertex', overlaid);
  const settings: LayerSettings = {
    ...alphabetKind(merged, gridOf(format, merged.levels !== undefined)),
    ...methodSettings(merged, hasData),
    groupSize: groupSizeFor(merged, inFeatures),
    ...rankRule(merged, inFeatures, 'auto'),
  };
  checkFormat(format, settings);
  return settings;
}

/** Throws a RangeError unless the format holds codes of this alphabet. */
function checkFormat(format: CheckpointFormat, { grid, bits }: LayerSettings): void {
  if (format === 'float') return;
  if (grid === 'zero-free')
    throw new RangeError(
      `The format "${format}" cannot hold a "zero-free" grid: use the grid "asymmetric" or "integer" with 2 bits or more, or the format "float"`,
    );
  if (format === 'compressed-tensors') return;
  if (![2, 3, 4, 8].includes(bits))
    throw new RangeError(
      `The format "${format}" holds 2, 3, 4 or 8 bits, not ${bits}: use the format "compressed-tensors"`,
    );
  if (format === 'gptq' && grid === 'asymmetric')
    throw new RangeError(
      'The format "gptq" cannot hold every zero point of an "asymmetric" grid: use the grid "integer", or the format "gptq_v2"',
    );
}
