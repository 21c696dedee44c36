import type { LayerSettings } from '../layers/quantize-weights';
import { moduleOf } from './choose-weights';
import type { CheckpointFormat } from './types';

/** A weight with what it became, or null where it stayed as it was. */
export type ConfiguredWeight = readonly [name: string, settings: LayerSettings | null];

/** Names of a regular expression's characters are only themselves. */
const literal = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** What loaders find in `config.json`; null for `float`, which needs nothing. `weights`: all matrices of linear layers. */
export function quantizationConfig(
  format: CheckpointFormat,
  weights: readonly ConfiguredWeight[],
): Record<string, unknown> | null {
  if (format === 'float') return null;
  return format === 'compressed-tensors' ? compressedTensors(weights) : gptq(format, weights);
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

/** The most frequent width is for all; what differs, and what is left, is told module by module. */
function gptq(format: 'gptq' | 'gptq_v2', weights: readonly ConfiguredWeight[]): Record<string, unknown> {
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
  for (const [name, settings] of weights) {
    const pattern = `^${literal(moduleOf(name))}$`;
    if (!settings) dynamic[`-:${pattern}`] = {};
    else if (JSON.stringify(own(settings)) !== common) dynamic[`+:${pattern}`] = own(settings);
  }
  return {
    quant_method: 'gptq',
    ...(JSON.parse(common) as object),
    desc_act: false,
    lm_head: weights.some(([name, settings]) => settings && moduleOf(name) === 'lm_head'),
    checkpoint_format: format,
    ...(Object.keys(dynamic).length > 0 && { dynamic }),
  };
}

/** A model's config with what tells loaders of its quantization. Throws a SyntaxError where it is not JSON. */
export function withQuantization(config: string, quantization: Record<string, unknown>): string {
  const parsed = JSON.parse(config) as Record<string, unknown>;
  return `${JSON.stringify({ ...parsed, quantization_config: quantization }, null, 2)}\n`;
}
