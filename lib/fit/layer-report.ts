import { type MethodOption, takes, traitsOf } from '../methods';
import type { NativeQuantized, Norms, RowNorms } from '../native/binding';
import { formatPercent } from '../reports/units';
import type { Errors, LayerReport, Method } from '../types';
import type { LayerRows } from './layer-rows';
import { layerErrors, storedBits, zeroWarnings } from './layer-errors';
import type { LayerSettings, ReportedLayer } from './layer-settings';
import { warn, type Warning } from '../warning-codes';

/** What was asked for, and the held-out error it had, where another method's answer was kept. */
export interface FallenBack {
  from: Method;
  holdout: number;
}

/** The report on `done`, which `settings.method` gave; its seconds are left for the caller. */
export function reportOf(
  layer: ReportedLayer,
  settings: LayerSettings,
  done: NativeQuantized,
  fallenBack: FallenBack | null,
): LayerReport {
  const { outFeatures, inFeatures, calibration } = layer;
  const { norms, bound } = done;
  const fitted = fitErrorsOf(done);
  const isWeighted = calibration?.isWeighted ?? false;
  const error = errorsOf(layer, norms);
  const judged = layer.holdout ? error.holdout : error.calibration;
  const groups = Math.ceil(inFeatures / settings.groupSize);
  const hasZeroPoints = done.zeroPoints.some((zeroPoint) => zeroPoint !== 0);
  const after = Math.ceil(
    (outFeatures * inFeatures * settings.bits) / 8 +
      outFeatures * groups * (4 + (done.minima ? 4 : hasZeroPoints ? settings.bits / 8 : 0)),
  );
  const has = (option: MethodOption) => takes(settings.method, option);
  return {
    name: layer.name,
    kind: layer.kind,
    shape: [outFeatures, inFeatures],
    method: settings.method,
    fellBackFrom: fallenBack?.from ?? null,
    errorCorrection: calibration?.kind === 'pairs',
    bits: settings.bits,
    groupSize: settings.groupSize,
    samples: calibration?.samples ?? 0,
    rank: done.rank,
    freeEntries: done.offAlphabet / outFeatures,
    error,
    weighted: isWeighted
      ? {
          calibration: fitted.calibration,
          holdout: layer.holdout?.isWeighted ? fitted.holdout : null,
          effectiveRows: calibration!.effectiveRows,
        }
      : null,
    sqnrDb: judged === null || judged === 0 ? null : -20 * Math.log10(judged),
    // Without outputs it would be about the damping alone.
    sphereGapDb: fitted.calibration === null ? null : done.sphereGapDb,
    passes: has('effort') ? done.passes : null,
    walked: has('effort') ? done.walked / outFeatures : null,
    damping: has('damping') ? done.damping : null,
    bound:
      bound &&
      norms.calibration &&
      relative(
        { error: Math.hypot(...chunkNorms(bound)), signal: norms.calibration.own.signal },
        norms.weight,
      ),
    seconds: 0,
    bytes: { before: outFeatures * inFeatures * layer.weight.BYTES_PER_ELEMENT, after },
    storedBits: storedBits(after, [outFeatures, inFeatures]),
    warnings: [
      ...zeroWarnings(error.weight, done.zeroedGroups, [outFeatures, inFeatures], settings.groupSize),
      ...warningsFor(settings.method, layer, done.norms, fitted, fallenBack),
    ],
  };
}

/** What is reported: on rows that all count alike. */
function errorsOf(layer: ReportedLayer, norms: NativeQuantized['norms']): LayerReport['error'] {
  const told = (of: Norms | null | undefined) => (of ? relative(of, norms.weight) : null);
  const { reported } = norms;
  const calibration = layer.calibration?.isWeighted ? null : norms.calibration;
  const holdout = layer.calibration?.isWeighted ? reported : norms.holdout;
  const own = { calibration: told(calibration?.own), holdout: told(holdout?.own) };
  if (layer.areFloat) return layerErrors(own, own, weightError(norms));
  const paired = {
    calibration: calibration?.againstFloat,
    holdout: holdout?.againstFloat ?? reported?.againstFloat,
  };
  const float = { calibration: told(paired.calibration), holdout: told(paired.holdout) };
  const isPaired = [layer.calibration, layer.reported].some((data) => data?.kind === 'pairs');
  return layerErrors(own, isPaired ? float : null, weightError(norms), {
    calibration: paired.calibration ? float.calibration : own.calibration,
    holdout: paired.holdout ? float.holdout : own.holdout,
  });
}

/** Weights that are all 0 lie on every grid: there is no other error without a signal. */
const weightError = ({ weight }: NativeQuantized['norms']) =>
  weight.error === 0 ? 0 : weight.error / weight.signal;

/** What the fit lowered, on its rows with their weights if they have any. */
export function fitErrorsOf({ norms }: NativeQuantized): Errors & { weight: number } {
  const told = (rows: RowNorms | null) => rows && relative(aimedAt(rows), norms.weight);
  return {
    calibration: told(norms.calibration),
    holdout: told(norms.holdout),
    weight: weightError(norms),
  };
}

/** Data is paired where the fit aims at what the float layer gives. */
const aimedAt = ({ own, againstFloat }: RowNorms) => againstFloat ?? own;

/** Against outputs that are all 0 no error is relative, unless no weight has changed and none of them has come of it. */
function relative({ error, signal }: Norms, weight: Norms): number | null {
  if (error === 0 && weight.error === 0) return 0;
  const ratio = error / signal;
  return signal > 0 && Number.isFinite(ratio) ? ratio : null;
}

/** A signal of 0, and an error that is not. */
function nothingToCompare(rows: string): Warning {
  return warn(
    'WARN_VERTEXQ_ZERO_OUTPUTS',
    `The float layer's outputs on the ${rows} are all 0 (or next to it), and those of the quantized layer are not: the error is no share of them, and is given as null.`,
  );
}

/** `Math.hypot(...values)` in pieces that fit the stack. */
function chunkNorms(values: Float64Array): number[] {
  const norms: number[] = [];
  for (let i = 0; i < values.length; i += 4096) norms.push(Math.hypot(...values.subarray(i, i + 4096)));
  return norms;
}

/** Rows that are too few for a fit to be trusted. Of data that came as a Gram matrix the number is not known. */
export function fewRows(calibration: LayerRows | null, inFeatures: number): boolean {
  return calibration !== null && calibration.samples > 0 && calibration.effectiveRows < 2 * inFeatures;
}

/** What is said of them. */
function fewRowsWarning({ samples, effectiveRows, isWeighted }: LayerRows, inFeatures: number): Warning {
  const rows = `${samples} calibration ${samples === 1 ? 'row' : 'rows'}`;
  const few = isWeighted
    ? `${rows}, which under their weights count as ${Math.round(effectiveRows)}, are`
    : `${rows} ${samples === 1 ? 'is' : 'are'}`;
  return warn(
    'WARN_VERTEXQ_FEW_ROWS',
    `${few} few for ${inFeatures} inputs: outputs on other data may be far worse. Give ${2 * inFeatures} rows or more.`,
  );
}

function warningsFor(
  method: Method,
  { inFeatures, calibration, holdout }: ReportedLayer,
  norms: NativeQuantized['norms'],
  error: Errors & { weight: number },
  fallenBack: FallenBack | null,
): Warning[] {
  const warnings: Warning[] = [];
  if (fewRows(calibration, inFeatures) && traitsOf(fallenBack?.from ?? method).needsData)
    warnings.push(fewRowsWarning(calibration!, inFeatures));
  if (calibration && error.calibration === null)
    warnings.push(
      norms.calibration && aimedAt(norms.calibration).error
        ? nothingToCompare('calibration rows')
        : warn(
            'WARN_VERTEXQ_ZERO_OUTPUTS',
            'The outputs on the calibration rows are all 0: there was nothing to fit or to measure. Where the data is 0, weights are rounded to the nearest level.',
          ),
    );
  if (calibration?.kind === 'pairs' && calibration.samples === 0 && (error.calibration ?? 0) > 1)
    warnings.push(
      warn(
        'WARN_VERTEXQ_CROSS_GRAM',
        `The error on the calibration rows, ${formatPercent(error.calibration)}, is larger than with weights that are all 0: expected "crossGram" to be X̃ᵀX for the X̃ᵀX̃ of "gram", of the same rows.`,
      ),
    );
  for (const [rows, data, told] of [
    ['calibration', calibration, error.calibration],
    ['held-out', holdout, error.holdout],
  ] as const)
    if (data && data.samples > 0 && told !== null && told < data.resolution * error.weight)
      warnings.push(
        warn(
          'WARN_VERTEXQ_BELOW_RESOLUTION',
          `The error on the ${rows} rows is below what their sums tell: it may be anything up to about ${formatPercent(data.resolution * error.weight)}.`,
        ),
      );
  if (holdout && error.holdout === null)
    warnings.push(
      norms.holdout && aimedAt(norms.holdout).error
        ? nothingToCompare('held-out rows')
        : warn(
            'WARN_VERTEXQ_ZERO_OUTPUTS',
            'The outputs on the held-out rows are all 0: there is no error to measure on them.',
          ),
    );
  if (fallenBack)
    warnings.push(
      warn(
        'WARN_VERTEXQ_FELL_BACK',
        `The fit to the calibration rows does not carry over: on held-out rows "${fallenBack.from}" has an error of ${formatPercent(fallenBack.holdout)}, plain rounding ("${method}") ${formatPercent(error.holdout)}. The layer has the latter.`,
      ),
    );
  else if (
    holdout &&
    error.holdout !== null &&
    error.calibration !== null &&
    error.holdout > 2 * error.calibration + 1e-6
  )
    warnings.push(
      warn(
        'WARN_VERTEXQ_OVERFIT',
        `The held-out error is ${(error.holdout / error.calibration).toFixed(1)} times the calibration error: the fit does not carry over to other data.`,
      ),
    );
  return warnings;
}
