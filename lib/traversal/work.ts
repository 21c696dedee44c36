import { mostPasses, plainMethod, traitsOf } from '../methods';
import type { RowsKind } from '../native/binding';
import type { Forward } from './forward';
import { kindOf } from './kind-of';
import type { FitLayer } from './layer';
import type { Weighted } from './needs';

/** What there is to do for a layer, in the kinds of work that take a run's time. Each is counted in steps that take about equally long. */
export interface LayerWork {
  layer: FitLayer;
  kind: RowsKind;
  /** Products of the layer's value and weight, in all networks that are run. */
  products: number;
  /** Sums of products of what it sees: of those that see the same, for the first alone, but where their rows have weights; and of gradients by its outputs. */
  sums: number;
  /** Its fit but for passes, and these. */
  fit: number;
  passes: number;
}

/** Seconds of a step of each kind. */
export type Rates = Record<'products' | 'sums' | 'fit' | 'passes', number>;

/** About those of a core: to tell how far a run is, where only what they are to each other matters. */
const typical: Rates = { products: 4e-11, sums: 2e-10, fit: 3e-10, passes: 3e-11 };

/** Flops of a pass of `vertex` for a neuron, in N², where those that all share take N³; and its passes where nobody says how many (native/core/method/vertex.cpp). */
const passPerNeuron = 20;
const passBudget = 2e10;
const leastPasses = 4;

export function passesOf({ settings, outFeatures, inFeatures: n }: FitLayer): number {
  if (!traitsOf(settings.method).options.some((name) => name === 'effort')) return 0;
  if (settings.passes >= 0) return settings.passes;
  const pass = n * n * (passPerNeuron * outFeatures + n);
  return Math.floor(Math.min(mostPasses, Math.max(leastPasses, passBudget / pass)));
}

/** Steps of a layer's fit, and of a pass. Plain rounding does not go by the square of the inputs. */
export function fitWork(
  { outFeatures, inFeatures: n, groups, settings }: FitLayer,
  hasOutputs = false,
): number {
  if (settings.method === plainMethod) return passPerNeuron * outFeatures * n;
  return n * n * (passPerNeuron * outFeatures + n * (hasOutputs ? feedbackBlocks(outFeatures) : groups));
}

/** Blocks of channels that make up for each other, for each of which what neurons share is made anew (native/core/method/output_feedback.cpp). */
function feedbackBlocks(outFeatures: number): number {
  const [neurons, blocks] = [64, 8];
  return Math.ceil(outFeatures / Math.max(neurons, Math.floor(outFeatures / blocks / neurons) * neurons));
}

/** Runs of the network that a sweep for `weighting` takes: forward, and back with all computed again. */
export const sweepRuns = 3;

/**
 * How often a run computes the network: as quantized so far, and in float, on all samples where layers are fitted to what it gives and else on
 * those held out.
 */
export function streamsOf({ stages, samples }: Pick<Forward<FitLayer>, 'stages' | 'samples'>): number {
  if (stages.some(({ layers }) => layers.some(({ errorCorrection }) => errorCorrection))) return 2;
  return 1 + samples.holdout / Math.max(1, samples.fit + samples.holdout);
}

/** Runs of the network that tuning its blocks takes: steps forward and back, each on one batch, and the errors before and after. */
export const tuningRuns = ({ stages, batches }: Pick<Forward<FitLayer>, 'stages' | 'batches'>): number =>
  stages.some(({ block }) => block) ? 5 + (3 * tuningSteps) / Math.max(1, batches.length) : 0;

/** Steps of a block, each on one batch: more changed little (docs/curvature.md). */
export const tuningSteps = 16;

/** The work of a run over a forward, by layers in their order, with all that weights take. */
export function worksOf<Layer extends FitLayer>(
  { stages, rows, samples, batches }: Forward<Layer>,
  weighted: Weighted = { rows: false, channels: false },
): LayerWork[] {
  const count = rows ?? samples.fit + samples.holdout;
  const streams = streamsOf({ stages, samples });
  const runs =
    streams + (weighted.rows || weighted.channels ? sweepRuns : 0) + tuningRuns({ stages, batches });
  const needed = stages.filter(({ ofAll }) => !ofAll);
  return needed.flatMap((stage) =>
    stage.layers.map((layer, i) => ({
      layer,
      kind: kindOf(layer, stage),
      products: runs * count * layer.inFeatures * layer.outFeatures,
      sums:
        (i === 0 || weighted.rows ? count * layer.inFeatures ** 2 : 0) +
        (weighted.channels ? count * layer.outFeatures ** 2 : 0),
      fit: fitWork(layer, weighted.channels),
      passes: passesOf(layer) * fitWork(layer),
    })),
  );
}

export const secondsBefore = ({ products, sums }: LayerWork, rates: Rates = typical) =>
  products * rates.products + sums * rates.sums;
export const secondsOfFit = ({ fit, passes }: LayerWork, rates: Rates = typical) =>
  fit * rates.fit + passes * rates.passes;
