import type { CheckpointReport } from '../../checkpoints/types';
import { isGguf } from '../../encodings/names';
import type { Report } from '../../models/types';
import type { LayerReport } from '../../types';
import { toldError } from '../error-columns';

/** A report on a run, of a network or a checkpoint. */
export type AnyReport = Omit<Report, 'files'> &
  Partial<Pick<CheckpointReport, 'copied'> & Pick<Report, 'files'>>;

/** Which of its errors layers are ranked by: the one that says most of those that a run knows. */
export type Measure = 'againstFloat' | 'own' | 'weight';

const errorBy: Record<Measure, (layer: LayerReport) => number | null> = {
  againstFloat: ({ error }) => toldError(error.againstFloat),
  own: ({ error }) => toldError(error.own),
  weight: ({ error }) => error.weight,
};

export const errorOf = (layer: LayerReport, measure: Measure): number | null => {
  const error = errorBy[measure](layer);
  return error !== null && Number.isFinite(error) ? error : null;
};

export function measureOf(layers: readonly LayerReport[]): Measure {
  const all: Measure[] = ['againstFloat', 'own'];
  return all.find((measure) => layers.some((layer) => errorOf(layer, measure) !== null)) ?? 'weight';
}

/** A layer and its error. */
export interface Ranked {
  layer: LayerReport;
  /** In the order of the run, from 0. */
  index: number;
  error: number;
}

/** Layers that have the error, the largest first. */
export function rankedBy(layers: readonly LayerReport[], measure: Measure): Ranked[] {
  return layers
    .flatMap((layer, index) => {
      const error = errorOf(layer, measure);
      return error === null ? [] : [{ layer, index, error }];
    })
    .sort((a, b) => b.error - a.error || a.index - b.index);
}

export function median(values: readonly number[]): number | null {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** How far a layer's fit carries over: its own error on held-out rows over that on the rows of the fit. */
export interface Carried {
  layer: LayerReport;
  fit: number;
  heldOut: number;
  ratio: number;
}

/** What tells whether there was enough data. */
export interface DataFacts {
  carried: Carried[];
  /** Of the ratios; null where no layer has one. */
  ratio: number | null;
  /** Layers that were fitted, and those of them with fewer than two rows an input. */
  fitted: number;
  few: LayerReport[];
  verdict: 'no data' | 'not known' | 'enough' | 'some' | 'too little';
}

/** Rows an input from which on there is no warning of few (lib/fit/layer-report.ts). */
const enoughRows = 2;
/** Median ratios up to which data was enough, and up to which more would gain little; from 2 on layers warn by themselves. */
const [enoughRatio, someRatio] = [1.25, 2];

export function dataFacts(layers: readonly LayerReport[]): DataFacts {
  const seen = layers.filter(({ samples }) => samples > 0);
  const few = seen.filter(({ samples, shape }) => samples < enoughRows * shape[1]);
  const carried = seen.flatMap((layer) => {
    const { calibration: fit, holdout: heldOut } = layer.error.own;
    const isTold = fit !== null && heldOut !== null && fit > 0 && heldOut > 0;
    return isTold && Number.isFinite(heldOut / fit) ? [{ layer, fit, heldOut, ratio: heldOut / fit }] : [];
  });
  const ratio = median(carried.map((own) => own.ratio));
  const verdict = (): DataFacts['verdict'] => {
    if (seen.length === 0) return 'no data';
    if (ratio === null) return 'not known';
    if (ratio > someRatio) return 'too little';
    return ratio > enoughRatio || 2 * few.length > seen.length ? 'some' : 'enough';
  };
  return { carried, ratio, fitted: seen.length, few, verdict: verdict() };
}

/** What a tenth more of the file would buy: by the sensitivity that widths were chosen with, or else by a rule. */
export interface MoreFacts {
  /** A tenth of the output. */
  bytes: number;
  /** Bits that each quantized weight could have more, and what a rule says is then left of each layer's error. */
  bits: number;
  left: number;
  /** Layers that go to 8 bits within those bytes, where errors are largest for their size; none in GGUF files, whose types are others. */
  picks: { layer: LayerReport; bytes: number; error: number; left: number }[];
}

const share = 0.1;
const mostBits = 8;
/** Each bit halves the step between levels, and with it the error. */
const leftBy = (bits: number) => 2 ** -bits;
const mostPicks = 8;

export function moreFacts({ layers, bytes: { after }, format }: AnyReport): MoreFacts {
  const bytes = Math.floor(share * after);
  const weights = layers.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  const bits = weights > 0 ? (8 * bytes) / weights : 0;
  return {
    bytes,
    bits,
    left: leftBy(bits),
    picks: isGguf(format) || format === 'float' ? [] : picksOf(layers, bytes),
  };
}

function picksOf(layers: readonly LayerReport[], budget: number): MoreFacts['picks'] {
  const measure = layers.some((layer) => errorOf(layer, 'own') !== null) ? 'own' : 'weight';
  const candidates = rankedBy(layers, measure)
    .filter(({ layer }) => layer.bits < mostBits)
    .map(({ layer, error }) => {
      const more = mostBits - layer.bits;
      const bytes = Math.ceil((layer.shape[0] * layer.shape[1] * more) / 8);
      const left = error * leftBy(more);
      return { pick: { layer, bytes, error, left }, gain: (error ** 2 - left ** 2) / bytes };
    })
    .sort((a, b) => b.gain - a.gain);
  const picks: MoreFacts['picks'] = [];
  let room = budget;
  for (const { pick } of candidates) {
    if (picks.length === mostPicks) break;
    if (pick.bytes > room) continue;
    room -= pick.bytes;
    picks.push(pick);
  }
  return picks;
}
