import type { FallenBack } from '../fit/layer-report';
import type { LayerSettings, WeightsInput } from '../fit/layer-settings';
import { merged } from '../fit/quantize-groups';
import { type Fit, fitWeights, quantizedLayer } from '../fit/quantize-weights';
import { plainMethod } from '../methods';
import type { NativeQuantized } from '../native/binding';
import { isObject } from '../realms';
import type { JobOptions, QuantizedLayer } from '../types';
import { warn } from '../warning-codes';
import { type Handed, inOnePiece, neuronsOf, type Parts } from './parts';

/**
 * Fits a layer part by part: each has some of the neurons, which do not depend on each other, and chooses for itself what is chosen by held-out rows. Parts that are others' are
 * waited for. Returns null where `isNeedless` was true before all was there.
 */
export async function fitInParts(
  layer: WeightsInput,
  settings: LayerSettings,
  options: JobOptions,
  { count, isOwn, exchange }: Parts,
  name: string,
  isNeedless: () => Promise<boolean>,
): Promise<QuantizedLayer | null> {
  const started = performance.now();
  const { outFeatures, inFeatures } = layer;
  const { onProgress, signal } = options;
  const all = Array.from({ length: count }, (_, part) => part);
  const parts = all.filter((part) => {
    const [begin, end] = neuronsOf(outFeatures, part, count);
    return end > begin;
  });
  const fits = new Map<number, Fit>();
  for (const part of parts) {
    if (!isOwn(part) || (await exchange?.has(name, part))) continue;
    const [begin, end] = neuronsOf(outFeatures, part, count);
    const own = {
      ...layer,
      weight: layer.weight.subarray(begin * inFeatures, end * inFeatures),
      outFeatures: end - begin,
    };
    const told: JobOptions = {
      ...options,
      ...(onProgress && {
        onProgress: ({ done, total, ...rest }) =>
          onProgress({ ...rest, done: begin + (done / total) * (end - begin), total: outFeatures }),
      }),
    };
    const fit = await fitWeights(own, settings, told);
    if (exchange) await exchange.put(name, part, await handedOf(fit, signal));
    else fits.set(part, fit);
  }
  if (exchange)
    for (const part of parts) {
      const handed = await exchange.get(name, part, isNeedless);
      if (!handed) return null;
      const [begin, end] = neuronsOf(outFeatures, part, count);
      fits.set(part, fitOf(handed, (end - begin) * inFeatures));
    }
  return joinedFits(layer, settings, parts.map((part) => fits.get(part)!), started); // prettier-ignore
}

async function joinedFits(
  layer: WeightsInput,
  settings: LayerSettings,
  fits: readonly Fit[],
  started: number,
): Promise<QuantizedLayer> {
  const done = fits.length === 1 ? fits[0]!.done : await merged(fits.map((fit) => fit.done));
  const back = fits.filter(({ fallenBack }) => fallenBack);
  const isBack = back.length === fits.length;
  const method = isBack ? plainMethod : settings.method;
  const fallenBack = isBack ? fallenBackOf(fits) : null;
  const quantized = await quantizedLayer(layer, settings, { done, method, fallenBack }, started);
  if (back.length > 0 && !isBack)
    quantized.report.warnings.push(
      warn(
        'WARN_VERTEXQ_FELL_BACK',
        `In ${back.length} of ${fits.length} parts plain rounding had the lower error on held-out rows, and took the place of "${method}".`,
      ),
    );
  return quantized;
}

/** Of parts that all got plain rounding: the held-out error that was not kept. */
function fallenBackOf(fits: readonly Fit[]): FallenBack {
  const signals = fits.map(({ done }) => {
    const { own, againstFloat } = done.norms.holdout!;
    return (againstFloat ?? own).signal;
  });
  const errors = fits.map(({ fallenBack }, i) => fallenBack!.holdout * signals[i]!);
  return { from: fits[0]!.fallenBack!.from, holdout: Math.hypot(...errors) / Math.hypot(...signals) };
}

async function handedOf({ done, method, fallenBack }: Fit, signal: AbortSignal | undefined): Promise<Handed> {
  const { codes, scales, zeroPoints, minima, bound, ...rest } = done;
  const has = { minima: minima !== null, bound: bound !== null };
  const arrays = [...(bound ? [bound] : []), scales, zeroPoints, ...(minima ? [minima] : []), codes];
  const facts = { ...rest, has, scales: scales.length, bounds: bound?.length ?? 0, method, fallenBack };
  return { facts, bytes: await inOnePiece(arrays, signal) };
}

/** Throws where what was handed over is no fit of so many weights. */
function fitOf({ facts, bytes }: Handed, weights: number): Fit {
  if (!isObject(facts)) throw wrong();
  const { has, scales: groups, bounds, method, fallenBack, ...rest } = facts;
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;
  if (!isObject(has) || !isCount(groups) || !isCount(bounds) || typeof method !== 'string') throw wrong();
  const fields = ['rank', 'offAlphabet', 'zeroedGroups', 'passes', 'damping', 'walked'];
  if (!fields.every((field) => typeof rest[field] === 'number') || !isObject(rest['norms'])) throw wrong();
  const [count, size] = [bounds as number, groups as number];
  if (bytes.length !== 8 * count + 4 * size * (has['minima'] === true ? 3 : 2) + weights) throw wrong();
  const { buffer } = bytes;
  let at = bytes.byteOffset;
  const singles = () => {
    const own = new Float32Array(buffer, at, size);
    at += own.byteLength;
    return own;
  };
  const bound = has['bound'] === true ? new Float64Array(buffer, at, count) : null;
  at += 8 * count;
  const [scales, zeroPoints] = [singles(), singles()];
  const minima = has['minima'] === true ? singles() : null;
  const codes = new Int8Array(buffer, at, weights);
  const done = { ...rest, bound, scales, zeroPoints, minima, codes } as unknown as NativeQuantized;
  return { done, method: method as Fit['method'], fallenBack: fallenBack as FallenBack | null };
}

const wrong = () => new Error('a fit of other weights was handed over');
