import { traitsOf } from '../../methods';
import { Traversal } from '../../traversal/traversal';
import type { JobOptions, Progress } from '../../types';
import { ModelForward } from '../forward/model-forward';
import type { ModelLayer } from '../layers/model-layers';
import { Differences } from './differences';
import { FittedWeights } from './fitted-weights';
import { type ChangesTask, layerChanges, type LayerChanges } from './layer-changes';
import { type FoundPart, sharesOf } from './shares';
import { sweptLayers } from './swept';

/** The part of the work that is done when it begins. */
const before = 0.7;

/** `layerChanges`, and of each layer's the share that is left where errors are corrected, if `widthOf` tells in which of the ways that were tried this is found out. Rejects as these do. */
export async function changesWithShares(
  task: ChangesTask,
  widthOf: ((layer: ModelLayer) => number) | null,
  options: JobOptions,
): Promise<LayerChanges & { left: ReadonlyMap<ModelLayer, number> | undefined }> {
  const { onProgress } = options;
  if (!widthOf) return { ...(await layerChanges(task, options)), left: undefined };
  const told = (progress: Progress) =>
    onProgress?.({ ...progress, ...(progress.share !== undefined && { share: before * progress.share }) });
  const changes = await layerChanges(task, { ...options, onProgress: told });
  return { ...changes, left: await sharesLeft(task, changes, widthOf, options) };
}

/**
 * What is left of each layer's change, as `layerChanges` foretold it, where all layers are quantized and errors corrected. All of them are fitted in one width, as a run fits them, and what the network is off by on held-out rows is told
 * apart by layers: half the derivative of the divergence along the way from a layer's weight to what has become of it. To second order these parts sum up to the divergence. Layers behind that were fitted to take a layer's errors back have no
 * derivative of their own that matters (they are where their fit is best), so the part is what the layer costs with all of that. undefined where nothing is corrected, or no rows are held out. `widthOf`: which of the ways that were tried.
 * Time: a run of `gptq`, and four runs of the network on the held-out rows. Rejects with what running and fitting brings; with the signal's reason.
 */
async function sharesLeft(
  task: ChangesTask,
  { of, kind }: LayerChanges,
  widthOf: (layer: ModelLayer) => number,
  { threads, signal, onProgress }: JobOptions,
): Promise<ReadonlyMap<ModelLayer, number> | undefined> {
  const { opened, data, cuts, workspace, memory } = task;
  const measured = task.layers.filter((layer) => Array.isArray(of.get(layer)));
  const settingsOf = (layer: ModelLayer) => task.triedOf(layer)[widthOf(layer)]!;
  if (
    data.holdout.length === 0 ||
    !measured.some((layer) => traitsOf(settingsOf(layer).method).correctsErrors)
  )
    return undefined;
  const layers = measured.map((layer) => ({
    ...layer,
    settings: settingsOf(layer),
    errorCorrection: traitsOf(settingsOf(layer).method).correctsErrors,
  }));
  const told = (progress: Progress, from: number, to: number) =>
    onProgress?.({
      ...progress,
      share: from + (to - from) * (progress.share ?? progress.done / progress.total),
    });
  const job = { ...(threads !== undefined && { threads }), ...(signal && { signal }) };
  const sink = new FittedWeights(workspace, opened.weights);
  const forward = new ModelForward(opened, layers, data, workspace, memory);
  const fitting = { ...job, onProgress: (progress: Progress) => told(progress, before, 0.95) };
  await new Traversal(layers, forward, sink, fitting).run();
  const swept = await sweptLayers(
    ...([opened, layers, data.holdout, cuts, workspace, memory] as const),
    { ...job, onProgress: (progress: Progress) => told(progress, 0.95, 1) },
    {
      ask: (raised) => {
        const network = sink.network(raised, layers);
        return { opened: network.opened, question: new Differences(network.floats, data.holdout) };
      },
    },
  );
  const rows = swept.sweep?.judged.rows ?? 0;
  const scale = (kind === 'logits' ? 0.5 : 1) / Math.max(1, rows);
  const found: FoundPart[] = [];
  for (const [i, layer] of layers.entries()) {
    const { change: foretold } = (of.get(measured[i]!) as { change: number }[])[widthOf(measured[i]!)]!;
    const { name } = layer;
    if (swept.reasons.has(layer)) found.push({ name, part: NaN, variance: Infinity, foretold });
    else {
      const sums: number[] = [];
      for (const batch of data.holdout.keys())
        for (const one of (await swept.toldOf(layer, batch))!) sums.push(scale * one);
      const part = sums.reduce((total, sum) => total + sum, 0);
      found.push({ name, part, variance: varianceOfSum(sums), foretold });
    }
  }
  const shares = sharesOf(found);
  return new Map(measured.map((layer, i) => [layer, shares[i]!]));
}

/** Of the sum of numbers that are drawn independently. */
function varianceOfSum(numbers: readonly number[]): number {
  const count = numbers.length;
  if (count < 2) return Infinity;
  const mean = numbers.reduce((sum, one) => sum + one, 0) / count;
  return (count / (count - 1)) * numbers.reduce((sum, one) => sum + (one - mean) ** 2, 0);
}
