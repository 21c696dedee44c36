import type { Workspace } from '../../runs/workspace';
import type { OutputGrams } from '../../traversal/output-grams';
import type { Parts } from '../../traversal/parts';
import type { RowWeights } from '../../traversal/row-weights';
import type { JobOptions } from '../../types';
import type { CalibrationSet } from '../calibration-set';
import type { ModelLayer } from '../layers/model-layers';
import type { OpenModel } from '../open-model';
import type { Weighting } from '../types';
import { ChannelGrams } from './channel-grams';
import { outputWeights } from './output-weights';
import { sharedSquares } from './shared-squares';
import { type KnownCuts, sweptLayers } from './swept';
import { weightedBy } from './weighted-by';

/** What the network's outputs feel of errors of layers; null where fits do not ask. */
export interface Curvature {
  /** How much each row counts. */
  rowWeights: RowWeights<ModelLayer> | null;
  /** How errors of output channels go together. */
  outputGrams: OutputGrams<ModelLayer> | null;
}

/**
 * Runs the float network forward and back, once, for what the option `weighting` asks of it (docs/curvature.md). Rejects with what that brings; with the signal's
 * reason. `parts`: of which others do some.
 */
export async function curvatureOf(
  weighting: Weighting | undefined,
  opened: OpenModel,
  layers: readonly ModelLayer[],
  data: Pick<CalibrationSet, 'fit' | 'holdout'>,
  cuts: KnownCuts,
  workspace: Workspace,
  memory: number,
  options: JobOptions,
  parts: Parts | null = null,
): Promise<Curvature> {
  const weighted = weightedBy(weighting);
  if (!weighted.rows && !weighted.channels) return { rowWeights: null, outputGrams: null };
  // Held-out rows have weights; of channels they are not asked.
  const feeds = weighted.rows ? [...data.fit, ...data.holdout] : data.fit;
  const isFitted = (batch: number) => batch < data.fit.length;
  const channels = weighted.channels
    ? new ChannelGrams<ModelLayer>(workspace, memory / 4, isFitted, options)
    : undefined;
  const room = channels ? (memory / 4) * 3 : memory;
  const sweep = (isOwn?: (batch: number) => boolean) =>
    sweptLayers(opened, layers, feeds, cuts, workspace, room, options, { isOwn, channels });
  // With channels there is one part, and who has it has all.
  if (parts?.exchange && !channels) {
    const batches = feeds.map((_, i) => ({ heldOut: !isFitted(i) }));
    const shared = await sharedSquares(sweep, layers, batches, parts, workspace, room, options);
    return { rowWeights: await outputWeights(shared, layers, data.fit.length), outputGrams: null };
  }
  const swept = await sweep();
  return {
    rowWeights: weighted.rows ? await outputWeights(swept, layers, data.fit.length) : null,
    outputGrams: channels
      ? {
          of: (layer) => swept.gramsOf(layer),
          reasonOf: (layer) => swept.aloneBecause(layer),
        }
      : null,
  };
}
