import { type ModelFormat, modelFormats, namesOf } from '../encodings/names';
import type { ModelEncoding } from '../encodings/onnx/encoding';
import { modelEncodings } from '../encodings/onnx/table';
import { requirePatterns } from '../globs';
import type { LayerSettings } from '../layers/quantize-weights';
import { flag } from '../option-checks';
import {
  checkJobOptions,
  describe,
  groupSizeFor,
  rankRule,
  requireInteger,
  requireKnown,
  requireOneOf,
} from '../options';
import type { FitOptions } from '../overrides';
import { checkDataOptions } from './data/data-options';
import { fitOptionNames, type FitSettings, fitSettings } from './fit-settings';
import { knownOperators } from './layers/kinds';
import type { Layer } from './layers/layer';
import { modelOptionNames } from './option-names';
import { Overrides } from './overrides';
import type { ModelOptions } from './types';

/** The options of a model with defaults filled in; what depends on a layer's size is left for layerSettings. */
export interface ModelSettings extends FitSettings {
  /** What differs from layer to layer. */
  overrides: Overrides;
  format: ModelFormat;
  encoding: ModelEncoding;
  operators: readonly string[] | undefined;
  layers: readonly string[] | undefined;
  skip: readonly string[];
  externalData: boolean | undefined;
  /** Bytes of activations that may be kept in memory between layers. */
  memory: number;
}

const defaultMemory = 2 ** 29;

export function checkPath(what: 'input' | 'output', path: unknown): void {
  if (typeof path !== 'string' || path === '')
    throw new TypeError(`Expected the ${what} to be the path of an ONNX file, not ${describe(path)}`);
}

/** Checks the options of a model: their names must be known. */
export function checkModelOptions(options: ModelOptions): ModelSettings {
  requireKnown(options, modelOptionNames);
  checkJobOptions(options);
  const formats = namesOf(modelFormats);
  const format = requireOneOf('format', options.format ?? formats[0]!, formats);
  const encoding = modelEncodings[format];
  const hasData = options.calibration !== undefined;
  const fit = fitSettings(options, hasData, encoding);
  checkDataOptions(options);
  if (options.holdout !== undefined && options.calibration === undefined)
    throw new RangeError(
      'The "holdout" option needs "calibration": without data there is nothing to hold out',
    );
  const layers = options.layers === undefined ? undefined : requirePatterns('layers', options.layers);
  if (layers?.length === 0)
    throw new RangeError('The "layers" option is empty: leave it out to quantize every layer');
  const common = { options: fitOptionsOf(options), hasData, encoding };
  return {
    ...fit,
    overrides: Overrides.of(options.overrides, common, fit),
    format,
    encoding,
    layers,
    skip: options.skip === undefined ? [] : requirePatterns('skip', options.skip),
    operators: operatorsOf(options),
    externalData: flag('externalData', options.externalData),
    memory: requireInteger('memory', options.memory ?? defaultMemory, 0, Infinity),
  };
}

function operatorsOf({ operators }: ModelOptions): readonly string[] | undefined {
  if (operators === undefined) return undefined;
  if (!Array.isArray(operators) || operators.length === 0)
    throw new TypeError(
      `Expected the "operators" option to be an array of operators, not ${Array.isArray(operators) ? 'an empty one' : describe(operators)}`,
    );
  return (operators as unknown[]).map((operator) => requireOneOf('operators', operator, knownOperators));
}

function fitOptionsOf(options: ModelOptions): FitOptions {
  return Object.fromEntries(fitOptionNames.map((name) => [name, options[name]]));
}

/** How a layer is fitted, with its own options; what depends on its size is left for layerSettings. */
export function fitOf({ overrides }: ModelSettings, { name }: Pick<Layer, 'name'>): FitSettings {
  return overrides.settingsOf(name);
}

/** The settings of one layer. */
export function layerSettings(
  settings: ModelSettings,
  { name, inFeatures }: Pick<Layer, 'name' | 'inFeatures'>,
): LayerSettings {
  const { method, scale, box, passes, damping, kind, groupSize, rank } = fitOf(settings, { name });
  return {
    method,
    scale,
    box,
    passes,
    damping,
    ...kind,
    groupSize: groupSizeFor({ groupSize }, inFeatures),
    ...rankRule(rank === undefined ? {} : { rank }, inFeatures, 'auto'),
  };
}
