import { binding, type NativeQuantized, type Norms } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import type { AlphabetKind, MethodSettings, RankRule } from '../options';
import type { FloatArray, JobOptions, LayerReport, QuantizedLayer } from '../types';
import type { Calibration } from './calibration';

/** A layer whose data is already accumulated. */
export interface WeightsInput {
  name: string;
  kind: string;
  weight: FloatArray;
  outFeatures: number;
  inFeatures: number;
  calibration: Calibration | null;
  holdout: Calibration | null;
}

/** Options with every default filled in. */
export interface LayerSettings extends AlphabetKind, RankRule, MethodSettings {
  groupSize: number;
}

/** Quantizes a layer's weights and reports what that did. The settings must have been checked. */
export async function quantizeWeights(
  layer: WeightsInput,
  settings: LayerSettings,
  options: JobOptions,
): Promise<QuantizedLayer> {
  const { signal, onProgress } = options;
  const { weight, outFeatures, inFeatures } = layer;
  const { grid, levels, bits, groupSize, box, rank, rankLimit, method, scale, passes, damping } = settings;
  const started = performance.now();
  const done = await finish(
    () =>
      binding().quantize({
        weight,
        outFeatures,
        inFeatures,
        calibration: layer.calibration?.native ?? null,
        holdout: layer.holdout?.native ?? null,
        grid,
        levels,
        groupSize,
        box,
        rank,
        rankLimit,
        method,
        scale,
        passes,
        damping,
        threads: threadsFor(options),
      }),
    signal,
    onProgress && ((finished, total) => onProgress({ stage: 'quantize', done: finished, total })),
  );
  const zeroPoints = done.zeroPoints.every((zeroPoint) => zeroPoint === 0) ? null : done.zeroPoints;
  const { codes, scales } = done;
  const report = reportOf(layer, settings, done, zeroPoints !== null);
  report.seconds = (performance.now() - started) / 1000;
  return {
    codes,
    scales,
    zeroPoints,
    groupSize,
    bits,
    levels,
    outFeatures,
    inFeatures,
    dequantize: () => dequantize(codes, scales, zeroPoints, outFeatures, inFeatures, groupSize),
    report,
  };
}

/** value = (code − zeroPoint)·scale, computed in float64 and rounded once to float32. */
export function dequantize(
  codes: Int8Array,
  scales: Float32Array,
  zeroPoints: Float32Array | null,
  outFeatures: number,
  inFeatures: number,
  groupSize: number,
): Float32Array {
  const values = new Float32Array(outFeatures * inFeatures);
  const groups = Math.ceil(inFeatures / groupSize);
  for (let neuron = 0; neuron < outFeatures; neuron++)
    for (let group = 0; group < groups; group++) {
      const scale = scales[neuron * groups + group]!;
      const zeroPoint = zeroPoints?.[neuron * groups + group] ?? 0;
      const end = neuron * inFeatures + Math.min((group + 1) * groupSize, inFeatures);
      for (let i = neuron * inFeatures + group * groupSize; i < end; i++)
        values[i] = (codes[i]! - zeroPoint) * scale;
    }
  return values;
}

function reportOf(
  layer: WeightsInput,
  settings: LayerSettings,
  done: NativeQuantized,
  hasZeroPoints: boolean,
): LayerReport {
  const { outFeatures, inFeatures, calibration, holdout } = layer;
  const { norms, bound } = done;
  const error = {
    calibration: norms.calibration && relative(norms.calibration),
    holdout: norms.holdout && relative(norms.holdout),
    weight: relative(norms.weight),
  };
  const judged = error.holdout ?? error.calibration;
  const groups = Math.ceil(inFeatures / settings.groupSize);
  const isVertex = settings.method === 'vertex';
  return {
    name: layer.name,
    kind: layer.kind,
    shape: [outFeatures, inFeatures],
    method: settings.method,
    errorCorrection: calibration?.kind === 'pairs',
    bits: settings.bits,
    groupSize: settings.groupSize,
    samples: calibration?.samples ?? 0,
    rank: done.rank,
    freeEntries: done.offAlphabet / outFeatures,
    error,
    sqnrDb: judged === null || judged === 0 ? null : -20 * Math.log10(judged),
    sphereGapDb: done.sphereGapDb ?? null,
    passes: isVertex ? done.passes : null,
    walked: isVertex ? done.walked / outFeatures : null,
    damping: isVertex || settings.method === 'gptq' ? done.damping : null,
    bound:
      bound &&
      norms.calibration &&
      relative({ error: Math.hypot(...chunkNorms(bound)), signal: norms.calibration.signal }),
    seconds: 0,
    bytes: {
      before: outFeatures * inFeatures * layer.weight.BYTES_PER_ELEMENT,
      after: Math.ceil(
        (outFeatures * inFeatures * settings.bits) / 8 +
          outFeatures * groups * (4 + (hasZeroPoints ? settings.bits / 8 : 0)),
      ),
    },
    warnings: warningsFor(settings.method, inFeatures, calibration, holdout, error),
  };
}

/** A signal of zero has no relative error unless nothing changed. */
function relative({ error, signal }: Norms): number {
  return error === 0 ? 0 : error / signal;
}

/** `Math.hypot(...values)` in pieces that fit the stack. */
function chunkNorms(values: Float64Array): number[] {
  const norms: number[] = [];
  for (let i = 0; i < values.length; i += 4096) norms.push(Math.hypot(...values.subarray(i, i + 4096)));
  return norms;
}

function warningsFor(
  method: string,
  inFeatures: number,
  calibration: Calibration | null,
  holdout: Calibration | null,
  error: LayerReport['error'],
): string[] {
  const warnings: string[] = [];
  const samples = calibration?.samples ?? 0;
  if (method !== 'msq' && samples > 0 && samples < 2 * inFeatures)
    warnings.push(
      `${samples} calibration rows are few for ${inFeatures} inputs: outputs on other data may be far worse. Give ${2 * inFeatures} rows or more.`,
    );
  if (
    holdout &&
    error.holdout !== null &&
    error.calibration !== null &&
    error.holdout > 2 * error.calibration + 1e-6
  )
    warnings.push(
      `The held-out error is ${(error.holdout / error.calibration).toFixed(1)} times the calibration error: the fit does not carry over to other data.`,
    );
  return warnings;
}
