import { checkAlphabet, checkGroupSize } from '../formats/matmulnbits';
import type { LayerSettings } from '../layers/quantize-weights';
import {
  type AlphabetKind,
  alphabetKind,
  boxFor,
  checkJobOptions,
  describe,
  groupSizeFor,
  methodFor,
  quantizeOptionNames,
  rankRule,
  requireInteger,
  requireKnown,
  requireOneOf,
  scaleFor,
} from '../options';
import type { AlphabetOptions } from '../types';
import type { ModelOptions } from './types';

const names = [...quantizeOptionNames, 'calibration', 'holdout', 'format', 'layers', 'skip', 'batchSize'];

/** The options of a model with defaults filled in; what depends on a layer's size is left for layerSettings. */
export interface ModelSettings extends Pick<LayerSettings, 'method' | 'scale' | 'box'> {
  kind: AlphabetKind;
  groupSize: number | 'channel';
  rank: AlphabetOptions['rank'];
  format: 'matmulnbits' | 'float';
  layers: readonly string[] | undefined;
  skip: readonly string[];
}

export function checkModelOptions(input: unknown, output: unknown, options: ModelOptions): ModelSettings {
  for (const [name, path] of [
    ['input', input],
    ['output', output],
  ] as const)
    if (typeof path !== 'string' || path === '')
      throw new TypeError(`Expected the ${name} to be the path of an ONNX file, not ${describe(path)}`);
  requireKnown(options, names);
  checkJobOptions(options);
  const method = methodFor(options, options.calibration !== undefined);
  const format =
    options.format === undefined
      ? 'matmulnbits'
      : requireOneOf('format', options.format, ['matmulnbits', 'float']);
  const groupSize = options.groupSize ?? 32;
  groupSizeFor({ groupSize }, Infinity);
  const kind = alphabetKind(options, 'asymmetric');
  if (format === 'matmulnbits') {
    checkGroupSize(groupSize);
    checkAlphabet(kind);
  }
  rankRule(options, 1, 'auto');
  if (options.batchSize !== undefined) requireInteger('batchSize', options.batchSize, 1, Infinity);
  if (options.holdout !== undefined && options.calibration === undefined)
    throw new RangeError(
      'The "holdout" option needs "calibration": without data there is nothing to hold out',
    );
  const layers = options.layers === undefined ? undefined : patterns('layers', options.layers);
  if (layers?.length === 0)
    throw new RangeError('The "layers" option is empty: leave it out to quantize every layer');
  return {
    method,
    scale: scaleFor(options, method),
    box: boxFor(options, 'cell'),
    kind,
    groupSize,
    rank: options.rank,
    format,
    layers,
    skip: options.skip === undefined ? [] : patterns('skip', options.skip),
  };
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
export function layerSettings(settings: ModelSettings, inFeatures: number): LayerSettings {
  const { method, scale, box, kind, groupSize, rank } = settings;
  return {
    method,
    scale,
    box,
    ...kind,
    groupSize: groupSizeFor({ groupSize }, inFeatures),
    ...rankRule(rank === undefined ? {} : { rank }, inFeatures, 'auto'),
  };
}
