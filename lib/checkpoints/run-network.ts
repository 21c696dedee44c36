import { type Curvature, curvatureOf } from '../models/curvature/curvature-of';
import { ModelForward } from '../models/forward/model-forward';
import type { ModelLayer } from '../models/layers/model-layers';
import { storageOf } from '../models/layers/layer';
import { weightOf } from '../models/layers/weight-values';
import { ScaleTuning } from '../models/tuning/scale-tuning';
import { traitsOf } from '../methods';
import { Workspace } from '../runs/workspace';
import { defaults } from '../options/defaults';
import type { WorkFolder } from '../runs/work-folder';
import type { WeightSource } from '../traversal/layer';
import type { RowWeights } from '../traversal/row-weights';
import type { Sink, Stored } from '../traversal/sink';
import type { BlockTuning } from '../traversal/tuning';
import { ownBatches, type Parts } from '../traversal/parts';
import { Traversal, type TraversalParts } from '../traversal/traversal';
import { type CheckpointSettings, hasParts } from './checkpoint-options';
import type { CheckpointNetwork } from './network';
import type { Plan } from './plan';
import { layerName, type PlannedWeight } from './planned-weight';
import type { UnitRunner } from './run-units';
import { floatBytes } from '../containers/safetensors/dtypes';

/** A layer of the network, and the weight of the plan that it computes with. */
export type CheckpointLayer = ModelLayer & { weight: PlannedWeight };

/**
 * Fits the weights of a language model, layer after layer, to what the network, quantized as far as the layers before, feeds them, and
 * has each written to its place. Rejects as a traversal does.
 */
export async function runNetwork(
  network: CheckpointNetwork,
  plan: Plan,
  runner: UnitRunner,
  work: WorkFolder,
  settings: CheckpointSettings,
): Promise<void> {
  const workspace = new Workspace(work.path, work.scratch());
  const parts = partsOf(settings);
  try {
    const kept = await runner.findFitted();
    const run = forwardOf(network, plan, workspace, settings, parts);
    const stored = ({ weight }: CheckpointLayer) => ({ bytes: weight.layout.byteLength });
    const sink: Sink<CheckpointLayer, Stored> = {
      store: async (layer, quantized) => {
        await runner.store(layer.weight, quantized);
        return stored(layer);
      },
      has: ({ weight }) => kept.has(weight),
      restore: async (layer) => ({
        quantized: await runner.restore(layer.weight),
        stored: stored(layer),
      }),
    };
    const others = await traversalPartsOf(network, run, workspace, settings, parts);
    await new Traversal(run.fitted, run.forward, sink, settings.options, others).run();
  } finally {
    await workspace.end();
  }
}

/** All parts of a run that is done here; null where it is in one piece. */
export const partsOf = ({ options }: CheckpointSettings): Parts | null =>
  hasParts(options) ? { count: options.parts!, isOwn: () => true, exchange: null } : null;

/** The layers that the plan has fitted, in the order of the network, and what runs it up to them. */
export function forwardOf(
  { opened, layers, data }: CheckpointNetwork,
  plan: Plan,
  workspace: Workspace,
  settings: CheckpointSettings,
  parts: Parts | null,
): { fitted: CheckpointLayer[]; forward: ModelForward; memory: number } {
  const weights = plan.weights.filter(({ inNetwork }) => inNetwork);
  const fitted = layersOf(opened, layers, weights, settings);
  const memory = Math.min(settings.memory, defaults.modelMemory);
  const blockEnds = settings.options.tuning === 'scales' ? opened.ends : [];
  const batches = [data.fit, data.holdout].flatMap((feeds, i) => feeds.map(() => ({ heldOut: i === 1 })));
  const isOwn = ownBatches(batches, parts);
  const forward = new ModelForward(opened, fitted, data, workspace, memory, { blockEnds, isOwn });
  return { fitted, forward, memory };
}

/** What else a traversal of these layers goes by. Goes back through the network for the weights of rows. */
export async function traversalPartsOf(
  network: CheckpointNetwork,
  { fitted, forward }: ReturnType<typeof forwardOf>,
  workspace: Workspace,
  settings: CheckpointSettings,
  parts: Parts | null,
): Promise<TraversalParts<CheckpointLayer>> {
  const curvature = await networkCurvature(network, fitted, workspace, settings, parts);
  const tuning = tuningOf(forward, curvature.rowWeights, workspace, settings);
  return { ...curvature, tuning, deadline: settings.deadline, parts };
}

/** What is done with blocks when their layers are fitted; null for nothing. */
function tuningOf(
  forward: ModelForward,
  rowWeights: RowWeights<ModelLayer> | null,
  workspace: Workspace,
  { memory, options }: CheckpointSettings,
): BlockTuning<ModelLayer> | null {
  if (options.tuning !== 'scales') return null;
  return new ScaleTuning(forward, rowWeights, workspace, Math.min(memory, defaults.modelMemory));
}

/** What the logits feel of errors of layers, as far as that is asked for. */
export async function networkCurvature(
  { opened, data }: CheckpointNetwork,
  fitted: readonly CheckpointLayer[],
  workspace: Workspace,
  { memory, options }: CheckpointSettings,
  parts: Parts | null = null,
): Promise<Curvature> {
  const { ends, shape } = opened;
  const cuts = { ends, head: { from: ends.at(-1)!, vocabulary: shape.vocabulary } };
  const least = Math.min(memory, defaults.modelMemory);
  return curvatureOf(options.weighting, opened, fitted, data, cuts, workspace, least, options, parts);
}

/** The layers of these weights, in the order of the network. */
export function layersOf(
  opened: CheckpointNetwork['opened'],
  layers: CheckpointNetwork['layers'],
  weights: readonly PlannedWeight[],
  { options }: CheckpointSettings,
): CheckpointLayer[] {
  const planned = new Map(weights.map((weight) => [weight.name, weight]));
  const { graph, wider } = opened;
  const list: CheckpointLayer[] = [];
  const widest = new Set(wider.values());
  for (const [tensor, own] of layers) {
    const weight = planned.get(tensor);
    if (!weight) continue;
    const sources = new Map<string, WeightSource>();
    for (const layer of own) {
      const form = storageOf(layer);
      const source = sources.get(form) ?? {
        byteLength: weight.shape[0] * weight.shape[1] * floatBytes[weight.dtype],
        read: (signal?: AbortSignal) => weightOf(layer, opened.weights, signal),
      };
      sources.set(form, source);
      const { value } = layer.input!;
      list.push({
        ...layer,
        ...{ weight, source, name: layerName(weight), kind: 'Linear' },
        settings: { ...weight.settings, stored: weight.layout.stored },
        ...(wider.has(value) && { wider: wider.get(value)!, routed: true }),
        follows: widest.has(value),
        errorCorrection: traitsOf(weight.settings.method).correctsErrors && options.errorCorrection !== false,
      });
    }
  }
  return list.sort((a, b) => graph.placeOf(a.node) - graph.placeOf(b.node));
}
