import type { LayerSettings } from '../layers/quantize-weights';
import type { FusedGroup } from './fused-groups';
import { isWeightName, moduleOf } from './tensor-names';
import type { CheckpointFormat } from './types';

/** A weight with what it became, or null where it stayed as it was. */
export type ConfiguredWeight = readonly [name: string, settings: LayerSettings | null];

/** Names of a regular expression's characters are only themselves. */
const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/**
 * What loaders find in `config.json`; null for `float`, which needs nothing. `weights`: all matrices of linear layers, and what holds
 * several; `fused`: what some readers make one of.
 */
export function quantizationConfig(
  format: CheckpointFormat,
  weights: readonly ConfiguredWeight[],
  fused: readonly FusedGroup[],
): Record<string, unknown> | null {
  if (format === 'float') return null;
  return format === 'compressed-tensors' ? compressedTensors(weights) : gptq(format, weights, fused);
}

/** The modules in which nothing is quantized, of those that hold weights of their own: readers may ask for what is in them. */
function leftWhole(weights: readonly ConfiguredWeight[]): Set<string> {
  const whole = new Set(weights.filter(([name]) => !isWeightName(name)).map(([name]) => name));
  for (const [name, settings] of weights) {
    if (!settings) continue;
    const parts = moduleOf(name).split('.');
    for (let i = 1; i < parts.length; i++) whole.delete(parts.slice(0, i).join('.'));
  }
  return whole;
}

/** One group of weights per scheme; the most frequent one is for all linear layers, the others name theirs. */
function compressedTensors(weights: readonly ConfiguredWeight[]): Record<string, unknown> {
  const schemes = new Map<string, { scheme: Record<string, unknown>; names: string[] }>();
  const ignore = new Set<string>();
  let quantizesHead = false;
  for (const [name, settings] of weights) {
    const module = moduleOf(name);
    if (!settings) {
      ignore.add(module);
      continue;
    }
    quantizesHead ||= module === 'lm_head';
    const scheme = weightScheme(settings, settings.groupSize);
    const key = JSON.stringify(scheme);
    const known = schemes.get(key) ?? { scheme, names: [] };
    known.names.push(module);
    schemes.set(key, known);
  }
  for (const module of leftWhole(weights)) ignore.add(`re:^${literal(module)}\\.`);
  // A head that shares its weight with the embedding is not in the file, and is a linear layer all the same.
  if (!quantizesHead) ignore.add('lm_head');
  const sorted = [...schemes.values()].sort((a, b) => b.names.length - a.names.length);
  const groups = sorted.map(({ scheme, names }, i) => [
    `group_${i}`,
    {
      targets: i === 0 && sorted.length === 1 ? ['Linear'] : names.map((module) => `re:^${literal(module)}$`),
      weights: scheme,
      input_activations: null,
      output_activations: null,
    },
  ]);
  return {
    quant_method: 'compressed-tensors',
    format: 'pack-quantized',
    quantization_status: 'compressed',
    ignore: [...ignore],
    config_groups: Object.fromEntries(groups) as unknown,
  };
}

/** `groupSize` as wide as the weight is a scale per channel; that width is not known here, so the settings say so by Infinity. */
function weightScheme({ bits, grid }: LayerSettings, groupSize: number): Record<string, unknown> {
  const isChannel = groupSize === Infinity;
  return {
    num_bits: bits,
    type: 'int',
    symmetric: grid !== 'asymmetric',
    strategy: isChannel ? 'channel' : 'group',
    group_size: isChannel ? null : groupSize,
    dynamic: false,
    actorder: null,
  };
}

/** The most frequent width is for all; what differs, and what is left, is told module by module, and by the names of what is fused. */
function gptq(
  format: 'gptq' | 'gptq_v2',
  weights: readonly ConfiguredWeight[],
  fused: readonly FusedGroup[],
): Record<string, unknown> {
  const own = ({ bits, groupSize, grid }: LayerSettings) => ({
    bits,
    group_size: groupSize === Infinity ? -1 : groupSize,
    sym: grid !== 'asymmetric',
  });
  const counts = new Map<string, number>();
  for (const [, settings] of weights)
    if (settings) {
      const key = JSON.stringify(own(settings));
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  const [common] = [...counts].sort(([, a], [, b]) => b - a)[0]!;
  const dynamic: Record<string, unknown> = {};
  const tell = (pattern: string, settings: LayerSettings | null) => {
    if (!settings) dynamic[`-:${pattern}`] = {};
    else if (JSON.stringify(own(settings)) !== common) dynamic[`+:${pattern}`] = own(settings);
  };
  for (const [name, settings] of weights) tell(`^${literal(moduleOf(name))}$`, settings);
  for (const { path, members } of fused) tell(`^${literal(path)}$`, members[0]!.settings);
  for (const module of leftWhole(weights)) tell(`^${literal(module)}\\.`, null);
  return {
    quant_method: 'gptq',
    ...(JSON.parse(common) as object),
    desc_act: false,
    lm_head: weights.some(([name, settings]) => settings && moduleOf(name) === 'lm_head'),
    checkpoint_format: format,
    ...(Object.keys(dynamic).length > 0 && { dynamic }),
  };
}
