import type { LayerSettings } from '../fit/layer-settings';
import { quantizeGroups } from '../fit/quantize-groups';
import { plainMethod, traitsOf } from '../methods';
import { threadsFor } from '../native/jobs';
import { span } from '../spans';
import type { JobOptions, Progress, QuantizedLayer } from '../types';
import { warn } from '../warning-codes';
import type { CapturedRows } from './captured-rows';
import { fitInParts } from './fit-in-parts';
import type { FitLayer } from './layer';
import type { OutputGrams } from './output-grams';
import type { Parts } from './parts';
import type { RoundedWeights } from './rounded-weights';
import type { RowWeights } from './row-weights';
import type { TimeBudget } from './time-budget';

/** What a fit goes by besides its layer and rows. */
export interface FitMeans<Layer extends FitLayer> {
  rounded: RoundedWeights;
  rowWeights: RowWeights<Layer> | null;
  outputGrams: OutputGrams<Layer> | null;
  budget: TimeBudget | null;
  parts: Parts | null;
  options: JobOptions;
}

/** A layer to fit. */
export interface FitTask<Layer extends FitLayer> {
  layer: Layer;
  /** What other workers call it. */
  key: string;
  rows: CapturedRows | null;
  onProgress: ((progress: Progress) => void) | undefined;
  /** Whether another worker has put it together. */
  isNeedless: () => Promise<boolean>;
}

/** Fits layers to the rows that they see; those that see none are rounded. */
export class LayerFits<Layer extends FitLayer> {
  constructor(private readonly means: FitMeans<Layer>) {}

  /** Resolves to null where the fit became needless before the parts of others were there. */
  fit(task: FitTask<Layer>): Promise<QuantizedLayer | null> {
    const { layer } = task;
    const { name, outFeatures, inFeatures } = layer;
    const told = { 'vertexq.layer': name, 'vertexq.outputs': outFeatures, 'vertexq.inputs': inFeatures };
    return span(
      'vertexq.fit',
      told,
      () => this.fitted(task),
      (done): Record<string, string | number | undefined> =>
        done
          ? {
              'vertexq.method': done.report.method,
              'vertexq.bits': done.report.bits,
              'vertexq.rows': done.report.samples,
              'vertexq.error.own': done.report.error.own.calibration ?? undefined,
            }
          : {},
    );
  }

  private async fitted({
    layer,
    key,
    rows,
    onProgress,
    isNeedless,
  }: FitTask<Layer>): Promise<QuantizedLayer | null> {
    const { rounded, rowWeights, outputGrams, budget, parts, options } = this.means;
    const { name, kind, outFeatures, inFeatures, groups, source, settings } = layer;
    const { signal } = options;
    const done = rows ? undefined : await rounded.take(layer, onProgress);
    if (done) return done;
    const { calibration, holdout, reported, areFloat } = rows ?? none;
    const weight = await source.read(signal);
    const aims = rows !== null && traitsOf(settings.method).correctsErrors;
    const outputs = aims ? ((await outputGrams?.of(layer)) ?? null) : null;
    const input = {
      ...{ name, kind, weight, outFeatures, inFeatures, calibration, holdout, reported, areFloat, outputs },
      ...(calibration && rowWeights && { correction: rowWeights.correctionOf(calibration) }),
    };
    const threads = threadsFor(options);
    // A weight that sees no rows is rounded, whatever the others get.
    const own: LayerSettings =
      rows === null
        ? { ...settings, method: plainMethod }
        : { ...settings, ...budget?.settingsOf(layer, threads) };
    const job = { threads, ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) };
    const quantized =
      rows && parts
        ? await fitInParts(input, own, job, parts, key, isNeedless)
        : await quantizeGroups(input, groups, own, job);
    if (!quantized) return null;
    budget?.made(layer);
    if (calibration && calibration.offered > calibration.samples)
      quantized.report.warnings.push(
        warn(
          'WARN_VERTEXQ_SOME_ROWS',
          `fitted to ${calibration.samples} of ${calibration.offered} patches, spread over all samples: more would change little`,
        ),
      );
    if (rows?.unpaired)
      quantized.report.warnings.push(
        warn('WARN_VERTEXQ_NO_FLOAT_ERROR', `no error against the float network: ${rows.unpaired}`),
      );
    const unweighted = rows && rowWeights?.reasonOf(layer);
    if (unweighted)
      quantized.report.warnings.push(
        warn('WARN_VERTEXQ_ROWS_ALIKE', `all of its rows count alike: ${unweighted}`),
      );
    const alone = aims && outputs === null && outputGrams?.reasonOf(layer);
    if (alone)
      quantized.report.warnings.push(
        warn('WARN_VERTEXQ_CHANNELS_ALONE', `each of its neurons is fitted by itself: ${alone}`),
      );
    return quantized;
  }
}

const none = { calibration: null, holdout: null, reported: null, areFloat: false };
