import { fitGroups } from '../../fit/quantize-groups';
import type { LayerSettings } from '../../fit/layer-settings';
import { traitsOf } from '../../methods';
import type { OutputKind, RowNorms } from '../../native/binding';
import { giveBackMemory } from '../../native/freed-memory';
import type { Workspace } from '../../runs/workspace';
import { placesIn } from '../../traversal/layer';
import type { JobOptions } from '../../types';
import { located, namingMemory } from '../../errors';
import type { CalibrationSet } from '../calibration-set';
import { ModelForward } from '../forward/model-forward';
import type { ModelLayer } from '../layers/model-layers';
import type { OpenModel } from '../open-model';
import { StageRows } from './stage-rows';
import { type KnownCuts, meanOf, sweptLayers } from './swept';
import { broughtErrors, type BroughtErrors, sharesLeft } from './taken-back';

/** What is asked of a network's layers. */
export interface ChangesTask {
  opened: OpenModel;
  layers: readonly ModelLayer[];
  /** The ways in which a layer is tried. */
  triedOf: (layer: ModelLayer) => readonly LayerSettings[];
  data: CalibrationSet;
  cuts: KnownCuts;
  workspace: Workspace;
  /** Bytes of what lives between parts of the network that stay out of files. */
  memory: number;
}

/** What one way does to the network's outputs, and to the layer's own. */
export interface Change {
  change: number;
  error: number | null;
}

export interface LayerChanges {
  kind: OutputKind;
  /** Of each layer's changes the share that is left where layers behind it correct errors; undefined where that was not measured. */
  left: ReadonlyMap<ModelLayer, number> | undefined;
  /** Rows of outputs that were judged. */
  rows: number;
  /** By layer, in the order of what was tried; or why there is nothing to tell. */
  of: Map<ModelLayer, Change[] | string>;
}

/**
 * How far a network's outputs go where one layer alone is quantized, to second order. With g the gradient of the log likelihood of the network's own answers by a layer's output and δ
 * the error of that output, the KL divergence is ½ E[(Σ gᵀδ)²]: over the rows of a layer, whose terms are taken for independent, and with E[ggᵀ] replaced by its mean diagonal s, ½ Σ s‖δ‖². Of outputs that are no logits it is
 * their squared error, Σ s‖δ‖². Both are given for one row of outputs. The errors are those of fits to the float network's rows (all of them alike), summed under the weights s: one sweep forward and back, and one
 * more run forward, whatever is tried. In that run the layers before have what was tried in the middle: what their errors bring to a layer, as they are and corrected, tells what error correction leaves of them. Memory: a layer's Gram matrices,
 * and one number a row and layer. Rejects with what running and fitting brings; with the signal's reason.
 */
export async function layerChanges(task: ChangesTask, options: JobOptions): Promise<LayerChanges> {
  const { opened, data, cuts, workspace, memory } = task;
  const { signal, onProgress } = options;
  const corrects = task.layers.some((layer) => traitsOf(task.triedOf(layer)[0]!.method).correctsErrors);
  const layers = task.layers.map((layer) => ({ ...layer, errorCorrection: corrects }));
  const places = placesIn(layers);
  const twins = new Map(layers.map((layer, i) => [layer, task.layers[i]!]));
  const feeds = [...data.fit, ...data.holdout];
  const swept = await sweptLayers(opened, layers, feeds, cuts, workspace, memory, options);
  const { kind, rows } = swept.sweep?.judged ?? { kind: 'logits' as const, rows: 0 };
  const factor = (kind === 'logits' ? 0.5 : 1) / Math.max(1, rows);
  const found: LayerChanges['of'] = new Map();
  const means = new Map<ModelLayer, number>();
  for (const layer of layers) {
    const own = swept.reasons.get(layer) ?? (await meanOf(swept, layer, feeds.length));
    if (typeof own === 'string') found.set(twins.get(layer)!, own);
    else means.set(layer, own.mean);
  }
  const brought = new Map<string, BroughtErrors>();
  const forward = new ModelForward(opened, layers, data, workspace, memory, corrects ? {} : { float: 'none' }); // prettier-ignore
  let done = 0;
  for (const stage of forward.stages) {
    if (means.size === done) break;
    if (stage.ofAll) {
      await forward.skip(stage);
      continue;
    }
    const own = stage.layers.filter((layer) => means.has(layer));
    // Experts see other rows where others are picked.
    const paired = corrects && stage.changes ? own.filter(({ routed }) => !routed) : [];
    const rows = new StageRows(stage, own, paired, options);
    const weightsOf = (batch: number) => async (layer: object) => {
      const mean = means.get(layer as ModelLayer)!;
      return (await swept.squaresOf(layer as ModelLayer, batch))!.map((square) => square / mean);
    };
    await forward.run(
      stage,
      corrects && stage.changes && own.length > 0 ? 'all' : 'none',
      async (batch, value) => {
        const add = () => rows.add(value, forward.batches[batch]!, weightsOf(batch), signal);
        await namingMemory(`layer "${own[0]?.name ?? stage.target}"`, add);
        if (own[0])
          onProgress?.({ stage: 'capture', done: batch + 1, total: feeds.length, ...placeOf(own[0]) });
      },
      signal,
    );
    for (const layer of own) {
      const { fitted, judged, unseen, pairs } = rows.of(layer);
      // Of the patches of a convolution not all are summed.
      const all = judged.offered > 0 ? judged.offered / judged.samples : 1;
      const scale = factor * means.get(layer)! * all;
      const tried = task.triedOf(twins.get(layer)!);
      try {
        const weight = await layer.source.read(signal);
        const { name, kind: operator, outFeatures, inFeatures, groups } = layer;
        const given = { name, kind: operator, weight, outFeatures, inFeatures };
        const changes: Change[] = [];
        const quiet = { ...options, onProgress: () => {} };
        if (pairs) {
          const widest = tried.at(-1)!;
          const errors = await broughtErrors(given, groups, pairs, widest, quiet);
          const before = brought.get(stage.target) ?? { uncorrected: 0, corrected: 0 };
          const counted = means.get(layer)!;
          brought.set(stage.target, {
            uncorrected: before.uncorrected + counted * errors.uncorrected,
            corrected: before.corrected + counted * errors.corrected,
          });
        }
        for (const [i, settings] of tried.entries()) {
          const rowsOf = { calibration: fitted, holdout: judged, reported: unseen };
          const fit = await fitGroups({ ...given, ...rowsOf }, groups, settings, quiet);
          const { norms } = fit;
          const error = relativeTo(norms.calibration);
          if (corrects && i === Math.floor((tried.length - 1) / 2)) {
            const { groupSize, table = null } = settings;
            await forward.substitute(layer, { ...fit, table, groupSize, outFeatures, inFeatures }, signal);
          }
          changes.push({
            change: scale * norms.holdout!.own.error ** 2 * fitToRows(error, relativeTo(norms.reported)),
            error,
          });
          onProgress?.({ stage: 'quantize', done: i + 1, total: tried.length, ...placeOf(layer) });
        }
        found.set(twins.get(layer)!, changes);
      } catch (error) {
        throw located(`layer "${layer.name}"`, error);
      }
      done++;
      await giveBackMemory(signal);
    }
  }
  const shares = corrects ? sharesLeft(opened.graph, layers, brought) : undefined;
  const left = shares && new Map([...shares].map(([layer, share]) => [twins.get(layer)!, share]));
  return { kind, rows, of: found, left };

  function placeOf(layer: ModelLayer) {
    return {
      ...{ layer: layer.name, layerIndex: places.get(layer)!, layerCount: layers.length },
      share: done / Math.max(1, means.size),
    };
  }
}

const relativeTo = (norms: RowNorms | null | undefined): number | null =>
  norms && norms.own.signal > 0 ? norms.own.error / norms.own.signal : null;

/** By how much a square is larger on rows that no fit has seen. Where it is told to be smaller, they are others. */
const fitToRows = (seen: number | null, unseen: number | null): number =>
  seen !== null && seen > 0 && unseen !== null ? Math.max(1, unseen / seen) ** 2 : 1;
