import { type ModelFormat, modelFormats, namesOf } from '../encodings/names';
import type { ModelEncoding } from '../encodings/onnx/encoding';
import { modelEncodings } from '../encodings/onnx/table';
import { requirePatterns } from '../globs';
import type { LayerSettings } from '../fit/layer-settings';
import { groupSizeFor, rankRule } from '../options';
import { about, refuse, requireOneOf } from '../options/messages';
import { checkTarget, hasTarget, targetIn } from '../sensitivity/target';
import { checkTextOptions, checkTime, deadlineOf, requireDataFor } from '../options/relations';
import { defaults } from '../options/defaults';
import { withPreset } from '../options/presets';
import { checkOptions } from '../options/table';
import { type FitSettings, fitSettings } from './fit-settings';
import { knownOperators } from './layers/kinds';
import type { Layer } from './layers/layer';
import { Overrides } from './overrides';
import type { ModelOptions, Weighting } from './types';

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
  resume: boolean;
  otherKernels: boolean;
  /** Bytes of activations that may be kept in memory between layers. */
  memory: number;
  weighting: Weighting;
  /** When the run is to be done, as performance.now() tells it; null: when it is. */
  deadline: number | null;
}

/** Checks the options of a model. */
export function checkModelOptions(given: ModelOptions): ModelSettings {
  checkOptions('quantizeModel', given);
  const hasData = given.calibration !== undefined;
  const options = withPreset(given, hasData);
  const { format = namesOf(modelFormats)[0]!, layers, skip = [], operators } = options;
  const encoding = modelEncodings[format];
  const fit = fitSettings(options, hasData, encoding);
  checkTarget(options, hasData);
  if (hasTarget(options) && encoding.isPlain)
    refuse(
      [targetIn(options)!, 'format'],
      `The format "${format}" takes as many bytes in every width: a target needs "matmulnbits" or "qdq"`,
    );
  checkTextOptions(options);
  checkTime(options, hasData);
  requireDataFor(options.holdout, 'calibration', hasData);
  if ((options.weighting ?? 'none') !== 'none' && !hasData)
    refuse(['weighting'], 'The "weighting" option is about "calibration" data, which is not given');
  for (const operator of operators ?? [])
    about(['operators'], () => requireOneOf('operators', operator, knownOperators));
  return {
    ...fit,
    overrides: Overrides.of(options.overrides, { options, hasData, encoding }, fit),
    format,
    encoding,
    layers: layers === undefined ? undefined : requirePatterns('layers', layers),
    skip: requirePatterns('skip', skip),
    operators: operators && [...operators],
    externalData: options.externalData,
    memory: options.memory ?? defaults.modelMemory,
    weighting: options.weighting ?? 'none',
    deadline: deadlineOf(options),
    resume: options.resume ?? false,
    otherKernels: options.otherKernels ?? false,
  };
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
