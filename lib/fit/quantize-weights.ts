import { plainMethod, traitsOf } from '../methods';
import { binding, type NativeQuantized } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import { valuesNow } from '../native/tensors';
import { indexWhere } from '../yielding';
import type { Errors, JobOptions, Method, QuantizedLayer } from '../types';
import { type FallenBack, fewRows, fitErrorsOf, reportOf } from './layer-report';
import type { LayerSettings, ReportedLayer, WeightsInput } from './layer-settings';

/**
 * Quantizes a layer's weights and reports what that did. Where the held-out rows tell that a method followed the calibration rows too
 * closely, the layer gets plain rounding. The settings must have been checked.
 */
export async function quantizeWeights(
  layer: WeightsInput,
  settings: LayerSettings,
  options: JobOptions,
): Promise<QuantizedLayer> {
  const started = performance.now();
  const fit = await fitWeights(layer, settings, options);
  return quantizedLayer(layer, settings, fit, started);
}

/** A fit, and by which method it was made in the end. */
export interface Fit {
  done: NativeQuantized;
  method: Method;
  fallenBack: FallenBack | null;
}

/** `wary`: compares with plain rounding whatever the errors look like, where there are held-out rows. */
export async function fitWeights(
  layer: WeightsInput,
  settings: LayerSettings,
  options: JobOptions,
  wary = false,
): Promise<Fit> {
  const done = await run(layer, settings, options, options.onProgress);
  const error = fitErrorsOf(done);
  const asAsked: Fit = { done, method: settings.method, fallenBack: null };
  if (error.holdout === null || !(wary || mayMislead(layer, settings.method, error))) return asAsked;
  const rounded = await run(layer, { ...settings, method: plainMethod }, options);
  return fitErrorsOf(rounded).holdout! < error.holdout
    ? { done: rounded, method: plainMethod, fallenBack: { from: settings.method, holdout: error.holdout } }
    : asAsked;
}

/** What a fit, which began at `started`, made of a layer. */
export async function quantizedLayer(
  layer: ReportedLayer,
  settings: LayerSettings,
  { done, method, fallenBack }: Fit,
  started: number,
): Promise<QuantizedLayer> {
  const { outFeatures, inFeatures } = layer;
  const { groupSize, bits, levels } = settings;
  const { codes, scales } = done;
  const hasZeroPoints = (await indexWhere<number>(done.zeroPoints, (zeroPoint) => zeroPoint !== 0)) >= 0;
  const zeroPoints = hasZeroPoints ? done.zeroPoints : null;
  const report = reportOf(layer, { ...settings, method }, done, fallenBack);
  report.seconds = (performance.now() - started) / 1000;
  const shape = { outFeatures, inFeatures, groupSize, bits, levels };
  const { minima } = done;
  return asQuantizedLayer({
    codes,
    scales,
    zeroPoints,
    minima,
    table: settings.table ?? null,
    ...shape,
    report,
  });
}

/** What a quantized layer consists of. */
export type QuantizedValues = Omit<QuantizedLayer, 'dequantize'>;

export function asQuantizedLayer(values: QuantizedValues): QuantizedLayer {
  // Without what else it has: what the caller may change.
  const { codes, scales, zeroPoints, minima, table, outFeatures, inFeatures, groupSize } = values;
  const coded = { codes, scales, zeroPoints, minima, table, groupSize, outFeatures, inFeatures };
  return { ...values, dequantize: () => valuesNow(coded) };
}

/**
 * Whether plain rounding could do better on other data than a method that follows rows closely: with fewer than two calibration rows per input, or a held-out
 * error above 1.2 times the calibration error, for the fit leads by more than that. Else the comparison, which takes about as
 * long as a pass or two of `vertex`, is spared. `gptq`, `gpfq` and `maly-saab` always keep their own answer.
 */
function mayMislead({ calibration, inFeatures }: WeightsInput, method: Method, error: Errors): boolean {
  if (!traitsOf(method).followsClosely || error.holdout === null || error.calibration === null) return false;
  return fewRows(calibration, inFeatures) || error.holdout > 1.2 * error.calibration;
}

async function run(
  { weight, outFeatures, inFeatures, calibration, holdout, reported, outputs, correction = 1 }: WeightsInput,
  { table, stored, ...settings }: LayerSettings,
  options: JobOptions,
  onProgress?: JobOptions['onProgress'],
): Promise<NativeQuantized> {
  return finish(
    () =>
      binding().quantize({
        weight,
        outFeatures,
        inFeatures,
        calibration: calibration?.native ?? null,
        holdout: holdout?.native ?? null,
        reported: reported?.native ?? null,
        // Plain rounding, which a fit is compared with, has no use for them.
        outputs: traitsOf(settings.method).correctsErrors ? (outputs?.native ?? null) : null,
        correction,
        ...settings,
        table: table ?? null,
        scaleType: stored?.scales ?? 'F32',
        valueType: stored?.values ?? 'F64',
        threads: threadsFor(options),
      }),
    options.signal,
    onProgress && ((finished, total) => onProgress({ stage: 'quantize', done: finished, total })),
  );
}
