import { checkAlphabet, checkGroupSize } from '../formats/matmulnbits';
import type { LayerSettings } from '../layers/quantize-weights';
import {
  type AlphabetKind,
  alphabetKind,
  checkJobOptions,
  describe,
  fitsMoments,
  groupSizeFor,
  methodSettings,
  type MethodSettings,
  modelGrid,
  quantizeOptionNames,
  rankRule,
  requireInteger,
  requireKnown,
  requireOneOf,
} from '../options';
import type { AlphabetOptions, Method } from '../types';
import { checkDataOptions, dataOptionNames } from './data/data-options';
import { knownOperators } from './layers/kinds';
import type { Layer } from './layers/layer';
import type { ModelOptions } from './types';

export const modelOptionNames: readonly string[] = [
  ...quantizeOptionNames,
  ...dataOptionNames,
  ...['calibration', 'holdout', 'errorCorrection', 'format', 'operators', 'layers', 'skip'],
  ...['externalData', 'memory'],
];

/** The options of a model with defaults filled in; what depends on a layer's size is left for layerSettings. */
export interface ModelSettings extends MethodSettings {
  kind: AlphabetKind;
  groupSize: number | 'channel';
  rank: AlphabetOptions['rank'];
  errorCorrection: boolean;
  format: 'matmulnbits' | 'qdq' | 'float';
  operators: readonly string[] | undefined;
  layers: readonly string[] | undefined;
  skip: readonly string[];
  externalData: boolean | undefined;
  /** Bytes of activations that may be kept in memory between layers. */
  memory: number;
}

const formats = ['matmulnbits', 'qdq', 'float'] as const;
const defaultMemory = 512;

export function checkPath(what: 'input' | 'output', path: unknown): void {
  if (typeof path !== 'string' || path === '')
    throw new TypeError(`Expected the ${what} to be the path of an ONNX file, not ${describe(path)}`);
}

/** Checks the options of a model: their names must be known. */
export function checkModelOptions(options: ModelOptions): ModelSettings {
  requireKnown(options, modelOptionNames);
  checkJobOptions(options);
  const method = methodSettings(options, options.calibration !== undefined);
  const format =
    options.format === undefined ? 'matmulnbits' : requireOneOf('format', options.format, formats);
  const groupSize = options.groupSize ?? 32;
  groupSizeFor({ groupSize }, Infinity);
  const kind = alphabetKind(options, modelGrid);
  if (format === 'matmulnbits') {
    checkGroupSize(groupSize);
    checkAlphabet(kind);
  }
  rankRule(options, 1, 'auto');
  checkDataOptions(options);
  if (options.holdout !== undefined && options.calibration === undefined)
    throw new RangeError(
      'The "holdout" option needs "calibration": without data there is nothing to hold out',
    );
  const layers = options.layers === undefined ? undefined : patterns('layers', options.layers);
  if (layers?.length === 0)
    throw new RangeError('The "layers" option is empty: leave it out to quantize every layer');
  return {
    ...method,
    errorCorrection: correctionFor(options, method.method),
    kind,
    groupSize,
    rank: options.rank,
    format,
    layers,
    skip: options.skip === undefined ? [] : patterns('skip', options.skip),
    operators: operatorsOf(options),
    externalData: flag('externalData', options.externalData),
    memory: 2 ** 20 * requireInteger('memory', options.memory ?? defaultMemory, 0, Infinity),
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

function flag(name: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new TypeError(`Expected the "${name}" option to be true or false, not ${describe(value)}`);
}

function correctionFor({ errorCorrection }: ModelOptions, method: Method): boolean {
  const wanted = flag('errorCorrection', errorCorrection) ?? fitsMoments(method);
  if (wanted && !fitsMoments(method))
    throw new RangeError(
      `The "errorCorrection" option belongs to the methods "vertex", "gptq" and "gpfq": the method "${method}" does not take it`,
    );
  return wanted;
}

function patterns(name: string, value: string | readonly string[]): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  if (!list.every((pattern): pattern is string => typeof pattern === 'string' && pattern !== ''))
    throw new TypeError(
      `Expected the "${name}" option to be a glob or an array of globs, not ${describe(value)}`,
    );
  return list;
}

/** The settings of one layer. */
export function layerSettings(settings: ModelSettings, { inFeatures }: Layer): LayerSettings {
  const { method, scale, box, passes, damping, kind, groupSize, rank } = settings;
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
