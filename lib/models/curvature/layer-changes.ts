import { fitGroups } from '../../fit/quantize-groups';
import type { LayerSettings } from '../../fit/layer-settings';
import type { OutputKind, RowNorms } from '../../native/binding';
import { giveBackMemory } from '../../native/freed-memory';
import type { Workspace } from '../../runs/workspace';
import { RowCapture } from '../../traversal/captured-rows';
import { kindOf } from '../../traversal/kind-of';
import { placesIn } from '../../traversal/layer';
import type { JobOptions, TensorLike } from '../../types';
import { located, namingMemory } from '../../errors';
import type { CalibrationSet } from '../calibration-set';
import { ModelForward } from '../forward/model-forward';
import type { ModelLayer } from '../layers/model-layers';
import type { OpenModel } from '../open-model';
import { type KnownCuts, meanOf, sweptLayers } from './swept';

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
  /** Rows of outputs that were judged. */
  rows: number;
  /** By layer, in the order of what was tried; or why there is nothing to tell. */
  of: Map<ModelLayer, Change[] | string>;
}

/**
 * How far a network's outputs go where one layer alone is quantized, to second order. With g the gradient of the log likelihood of the network's own answers by a layer's output and δ
 * the error of that output, the KL divergence is ½ E[(Σ gᵀδ)²]: over the rows of a layer, whose terms are taken for independent, and with E[ggᵀ] replaced by its mean diagonal s, ½ Σ s‖δ‖². Of outputs that are no logits it is
 * their squared error, Σ s‖δ‖². Both are given for one row of outputs. The errors are those of fits to the float network's rows (all of them alike), summed under the weights s: one sweep forward and back, and one
 * more run forward, whatever is tried. Memory: a layer's Gram matrices, and one number a row and layer. Rejects with what running and fitting brings; with the signal's reason.
 */
export async function layerChanges(task: ChangesTask, options: JobOptions): Promise<LayerChanges> {
  const { opened, data, cuts, workspace, memory } = task;
  const { signal, onProgress } = options;
  const layers = task.layers.map((layer) => ({ ...layer, errorCorrection: false }));
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
  const forward = new ModelForward(opened, layers, data, workspace, memory, { float: 'none' });
  let done = 0;
  for (const stage of forward.stages) {
    if (means.size === done) break;
    if (stage.ofAll) {
      await forward.skip(stage);
      continue;
    }
    const own = stage.layers.filter((layer) => means.has(layer));
    const capture = (isWeighted: () => boolean) =>
      new RowCapture(
        stage.target,
        own,
        { kindOf: (layer) => kindOf(layer, stage), isWeighted },
        false,
        options,
      );
    const [plain, weighted, unfitted] = [capture(() => false), capture(() => true), capture(() => false)];
    const weightsOf = (batch: number) => async (layer: object) => {
      const mean = means.get(layer as ModelLayer)!;
      return (await swept.toldOf(layer as ModelLayer, batch))!.map((square) => square / mean);
    };
    const add = async (batch: number, seen: TensorLike) => {
      const { heldOut, share } = forward.batches[batch]!;
      await (heldOut ? unfitted : plain).add(seen, undefined, 'calibration', share, signal);
      await weighted.add(seen, undefined, 'calibration', share, signal, weightsOf(batch));
    };
    await forward.run(
      stage,
      'none',
      async (batch, { seen }) => {
        await namingMemory(`layer "${own[0]?.name ?? stage.target}"`, () => add(batch, seen));
        if (own[0])
          onProgress?.({ stage: 'capture', done: batch + 1, total: feeds.length, ...placeOf(own[0]) });
      },
      signal,
    );
    for (const layer of own) {
      const [fitted, judged] = [plain.rowsOf(layer)!.calibration, weighted.rowsOf(layer)!.calibration];
      const unseen = data.holdout.length > 0 ? unfitted.rowsOf(layer)!.calibration : null;
      // Of the patches of a convolution not all are summed.
      const all = judged.offered > 0 ? judged.offered / judged.samples : 1;
      const scale = factor * means.get(layer)! * all;
      const tried = task.triedOf(twins.get(layer)!);
      try {
        const weight = await layer.source.read(signal);
        const { name, kind: operator, outFeatures, inFeatures, groups } = layer;
        const given = { name, kind: operator, weight, outFeatures, inFeatures };
        const changes: Change[] = [];
        for (const [i, settings] of tried.entries()) {
          const rowsOf = { calibration: fitted, holdout: judged, reported: unseen };
          const { norms } = await fitGroups({ ...given, ...rowsOf }, groups, settings, { ...options, onProgress: () => {} }); // prettier-ignore
          const error = relativeTo(norms.calibration);
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
  return { kind, rows, of: found };

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
