import type { Workspace } from '../../runs/workspace';
import { enoughPatches } from '../../traversal/captured-rows';
import type { RowWeights } from '../../traversal/row-weights';
import type { JobOptions } from '../../types';
import type { CalibrationSet } from '../calibration-set';
import type { ModelLayer } from '../layers/model-layers';
import type { OpenModel } from '../open-model';
import type { Parts } from '../../traversal/parts';
import { sharedSquares } from './shared-squares';
import { correctionOf, PowerSums, type RowScale, weightsOf } from './strength';
import { type KnownCuts, meanOf, type Squares, sweptLayers } from './swept';

/**
 * Weights of the rows of layers by what the network's outputs feel of an error there: mean squares of gradients, of a power and with a floor (strength.ts), with
 * the mean 1 over the rows that are fitted to. Runs the float network forward and back. Rejects with what that brings; with the signal's reason.
 */
export async function outputWeights(
  opened: OpenModel,
  layers: readonly ModelLayer[],
  data: Pick<CalibrationSet, 'fit' | 'holdout'>,
  cuts: KnownCuts,
  workspace: Workspace,
  memory: number,
  options: JobOptions,
  parts: Parts | null = null,
): Promise<RowWeights<ModelLayer>> {
  const feeds = [...data.fit, ...data.holdout];
  const sweep = (isOwn?: (batch: number) => boolean) =>
    sweptLayers(opened, layers, feeds, cuts, workspace, memory, options, { isOwn });
  const batches = feeds.map((_, i) => ({ heldOut: i >= data.fit.length }));
  const swept = parts?.exchange
    ? await sharedSquares(sweep, layers, batches, parts, workspace, memory, options)
    : await sweep();
  const reasons = new Map(swept.reasons);
  const scales = new Map<ModelLayer, RowScale>();
  for (const layer of layers) {
    if (reasons.has(layer)) continue;
    const found = await scaleOf(swept, layer, data.fit.length);
    if (typeof found === 'string') reasons.set(layer, found);
    else scales.set(layer, found);
  }
  return new OutputWeights(swept, reasons, scales);
}

/** How the rows of a layer are weighted; or why they are not. The mean is that of those that are fitted to, in so many batches. */
async function scaleOf(swept: Squares, layer: ModelLayer, batches: number): Promise<RowScale | string> {
  const found = await meanOf(swept, layer, batches);
  if (typeof found === 'string') return found;
  const { mean, rows } = found;
  const sums = new PowerSums(mean, layer.errorCorrection);
  for (let batch = 0; batch < batches; batch++) sums.add((await swept.toldOf(layer, batch))!);
  const isConv = layer.input!.rows.kind === 'patches';
  return sums.choose(layer.inFeatures, isConv ? enoughPatches(layer.inFeatures) : rows);
}

class OutputWeights implements RowWeights<ModelLayer> {
  readonly correctionOf = correctionOf;

  constructor(
    private readonly swept: Squares,
    private readonly reasons: ReadonlyMap<ModelLayer, string>,
    private readonly scales: ReadonlyMap<ModelLayer, RowScale>,
  ) {}

  reasonOf(layer: ModelLayer): string | null {
    return this.reasons.get(layer) ?? null;
  }

  async of(layer: ModelLayer, batch: number): Promise<Float32Array | null> {
    const scale = this.scales.get(layer);
    if (!scale) return null;
    return weightsOf((await this.swept.toldOf(layer, batch))!, scale);
  }
}
