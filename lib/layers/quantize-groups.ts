import type { NativeQuantized, Norms } from '../native/binding';
import type { JobOptions, QuantizedLayer } from '../types';
import {
  type Fit,
  fitWeights,
  type LayerSettings,
  quantizedLayer,
  quantizeWeights,
  type WeightsInput,
} from './quantize-weights';

/**
 * Quantizes a layer whose neurons fall into groups with inputs of their own, as those of a grouped or depthwise convolution: each
 * group by itself. Such groups are small: where held-out rows tell that plain rounding does better for one, it gets that.
 */
export async function quantizeGroups(
  layer: WeightsInput,
  groups: number,
  settings: LayerSettings,
  options: JobOptions,
): Promise<QuantizedLayer> {
  if (groups === 1) return quantizeWeights(layer, settings, options);
  const started = performance.now();
  const neurons = layer.outFeatures / groups;
  const size = neurons * layer.inFeatures;
  const { onProgress, ...job } = options;
  const fits: Fit[] = [];
  for (let group = 0; group < groups; group++) {
    fits.push(
      await fitWeights(
        {
          ...layer,
          weight: layer.weight.subarray(group * size, (group + 1) * size),
          outFeatures: neurons,
          calibration: layer.calibration?.group(group) ?? null,
          holdout: layer.holdout?.group(group) ?? null,
        },
        settings,
        job,
        settings.method !== 'msq',
      ),
    );
    onProgress?.({ stage: 'quantize', done: (group + 1) * neurons, total: layer.outFeatures });
  }
  const quantized = quantizedLayer(
    layer,
    settings,
    { done: merged(fits.map(({ done }) => done)), method: settings.method, fallenBack: null },
    started,
  );
  const rounded = fits.filter(({ fallenBack }) => fallenBack).length;
  if (rounded > 0)
    quantized.report.warnings.push(
      `In ${rounded} of ${groups} groups plain rounding had the lower error on held-out rows, and took the place of "${settings.method}".`,
    );
  return quantized;
}

/** The answers of groups as one of all their neurons. */
function merged(parts: readonly NativeQuantized[]): NativeQuantized {
  const mean = (value: (part: NativeQuantized) => number) =>
    parts.reduce((sum, part) => sum + value(part), 0) / parts.length;
  const sum = (value: (part: NativeQuantized) => number) => mean(value) * parts.length;
  const norms = (of: (part: NativeQuantized) => Norms | null): Norms | null => {
    const all = parts.map(of);
    if (all.includes(null)) return null;
    return {
      error: Math.hypot(...(all as Norms[]).map(({ error }) => error)),
      signal: Math.hypot(...(all as Norms[]).map(({ signal }) => signal)),
    };
  };
  const bounds = parts.map(({ bound }) => bound);
  return {
    codes: joined(Int8Array, parts, ({ codes }) => codes),
    scales: joined(Float32Array, parts, ({ scales }) => scales),
    zeroPoints: joined(Float32Array, parts, ({ zeroPoints }) => zeroPoints),
    rank: Math.round(mean(({ rank }) => rank)),
    offAlphabet: sum(({ offAlphabet }) => offAlphabet),
    bound: bounds.includes(null) ? null : joined(Float64Array, parts, ({ bound }) => bound!),
    norms: {
      weight: norms((part) => part.norms.weight)!,
      calibration: norms((part) => part.norms.calibration),
      holdout: norms((part) => part.norms.holdout),
    },
    // One group's limit says nothing of another's.
    sphereGapDb: null,
    passes: Math.max(...parts.map(({ passes }) => passes)),
    damping: mean(({ damping }) => damping),
    walked: sum(({ walked }) => walked),
  };
}

type Numbers = Int8Array | Float32Array | Float64Array;

function joined<Values extends Numbers>(
  Kind: new (length: number) => Values,
  parts: readonly NativeQuantized[],
  of: (part: NativeQuantized) => Values,
): Values {
  const all = parts.map(of);
  const result = new Kind(all.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const values of all) {
    result.set(values, at);
    at += values.length;
  }
  return result;
}
