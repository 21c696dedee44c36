import { plainMethod, traitsOf } from '../methods';
import type { NativeQuantized, Norms, RowNorms } from '../native/binding';
import { threadsFor } from '../native/jobs';
import { copyInParts } from '../native/shared';
import type { JobOptions, QuantizedLayer } from '../types';
import { Turns } from '../yielding';
import type { LayerSettings, WeightsInput } from './layer-settings';
import { type Fit, fitWeights, quantizedLayer, quantizeWeights } from './quantize-weights';
import { warn } from '../warning-codes';

/**
 * Quantizes a layer whose neurons fall into groups with inputs of their own, as those of a grouped or depthwise convolution: each
 * group by itself. Such groups are small, and some methods follow few rows closely: where a group has fewer rows than inputs, or
 * held-out rows tell that plain rounding does better for it, it gets that.
 */
export async function quantizeGroups(
  layer: WeightsInput,
  groups: number,
  settings: LayerSettings,
  options: JobOptions,
): Promise<QuantizedLayer> {
  if (groups === 1) return quantizeWeights(layer, settings, options);
  const started = performance.now();
  const { followsClosely } = traitsOf(settings.method);
  const { calibration, inFeatures } = layer;
  const tooFew = followsClosely && calibration !== null && calibration.samples < inFeatures;
  const method = tooFew ? plainMethod : settings.method;
  const fits = await fitsOf(
    layer,
    groups,
    { ...settings, method },
    options,
    threadsFor(options),
    followsClosely,
  );
  const done = await merged(fits.map((fit) => fit.done));
  const quantized = await quantizedLayer(layer, settings, { done, method, fallenBack: null }, started);
  const { report } = quantized;
  const rounded = fits.filter(({ fallenBack }) => fallenBack).length;
  if (tooFew) {
    report.fellBackFrom = settings.method;
    report.warnings.push(
      warn(
        'WARN_VERTEXQ_FELL_BACK',
        `${calibration.samples} calibration ${calibration.samples === 1 ? 'row is' : 'rows are'} too few for groups of ${inFeatures} inputs: the layer gets plain rounding ("${method}"). Give ${2 * inFeatures} rows or more.`,
      ),
    );
  } else if (rounded > 0) {
    report.warnings.push(
      warn(
        'WARN_VERTEXQ_FELL_BACK',
        `In ${rounded} of ${groups} groups plain rounding had the lower error on held-out rows, and took the place of "${method}".`,
      ),
    );
  }
  return quantized;
}

/** The answer for a layer of one group or several, as `quantizeGroups` has it, without a report. */
export async function fitGroups(
  layer: WeightsInput,
  groups: number,
  settings: LayerSettings,
  options: JobOptions,
): Promise<NativeQuantized> {
  if (groups === 1) return (await fitWeights(layer, settings, options)).done;
  return merged(
    (await fitsOf(layer, groups, settings, options, threadsFor(options), false)).map(({ done }) => done),
  );
}

/** Each group's fit. As many are made at once as there are threads: a group has too little work to share. */
async function fitsOf(
  layer: WeightsInput,
  groups: number,
  settings: LayerSettings,
  { onProgress, signal }: JobOptions,
  threads: number,
  wary: boolean,
): Promise<Fit[]> {
  const neurons = layer.outFeatures / groups;
  const size = neurons * layer.inFeatures;
  const fits: Fit[] = [];
  let next = 0;
  let finished = 0;
  const work = async () => {
    while (next < groups) {
      const group = next++;
      const part = {
        ...layer,
        weight: layer.weight.subarray(group * size, (group + 1) * size),
        outFeatures: neurons,
        calibration: layer.calibration?.group(group) ?? null,
        holdout: layer.holdout?.group(group) ?? null,
        reported: layer.reported?.group(group) ?? null,
      };
      try {
        fits[group] = await fitWeights(part, settings, { threads: 1, ...(signal ? { signal } : {}) }, wary);
        onProgress?.({ stage: 'quantize', done: ++finished * neurons, total: layer.outFeatures });
      } catch (error) {
        next = groups;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(threads, groups) }, work));
  return fits;
}

/** The answers of groups as one of all their neurons. */
export async function merged(parts: readonly NativeQuantized[]): Promise<NativeQuantized> {
  const sum = (value: (part: NativeQuantized) => number) =>
    parts.reduce((total, part) => total + value(part), 0);
  const mean = (value: (part: NativeQuantized) => number) => sum(value) / parts.length;
  // One by one: there may be more groups than a call takes arguments.
  const norms = (of: (part: NativeQuantized) => Norms | null | undefined): Norms | null =>
    parts
      .map((part) => of(part) ?? null)
      .reduce(
        (total, own) =>
          total &&
          own && {
            error: Math.hypot(total.error, own.error),
            signal: Math.hypot(total.signal, own.signal),
          },
        { error: 0, signal: 0 },
      );
  const rowNorms = (of: (part: NativeQuantized) => RowNorms | null): RowNorms | null => {
    const own = norms((part) => of(part)?.own);
    return own && { own, againstFloat: norms((part) => of(part)?.againstFloat) };
  };
  const bounds = parts.map(({ bound }) => bound);
  const hasMinima = parts[0]!.minima !== null;
  return {
    codes: await joined(Int8Array, parts, ({ codes }) => codes),
    scales: await joined(Float32Array, parts, ({ scales }) => scales),
    zeroPoints: await joined(Float32Array, parts, ({ zeroPoints }) => zeroPoints),
    minima: hasMinima ? await joined(Float32Array, parts, ({ minima }) => minima!) : null,
    rank: Math.round(mean(({ rank }) => rank)),
    offAlphabet: sum(({ offAlphabet }) => offAlphabet),
    bound: bounds.includes(null) ? null : await joined(Float64Array, parts, ({ bound }) => bound!),
    norms: {
      weight: norms((part) => part.norms.weight)!,
      calibration: rowNorms((part) => part.norms.calibration),
      holdout: rowNorms((part) => part.norms.holdout),
      reported: rowNorms((part) => part.norms.reported),
    },
    zeroedGroups: sum(({ zeroedGroups }) => zeroedGroups),
    // One group's limit says nothing of another's.
    sphereGapDb: null,
    passes: parts.reduce((most, { passes }) => Math.max(most, passes), 0),
    damping: mean(({ damping }) => damping),
    walked: sum(({ walked }) => walked),
  };
}

type Numbers = Int8Array | Float32Array | Float64Array;

async function joined<Values extends Numbers>(
  Kind: new (length: number) => Values,
  parts: readonly NativeQuantized[],
  of: (part: NativeQuantized) => Values,
): Promise<Values> {
  const all = parts.map(of);
  const result = new Kind(all.reduce((sum, { length }) => sum + length, 0));
  const turns = new Turns();
  let at = 0;
  for (const values of all) {
    if (turns.due) await turns.next();
    await copyInParts(values, result.subarray(at, at + values.length));
    at += values.length;
  }
  return result;
}
