import type { PreparedCalibration } from './calibration';
import type { Layer } from './layers/layer';
import { calibrationKind } from '../layers/calibration';
import { requireLayerMemory } from '../layers/layer-memory';
import { fitOf, type ModelSettings } from './model-options';
import { type OpenModel, writeModel, type WrittenModel } from './model-steps';
import { Traversal } from './traversal/traversal';
import type { ModelOptions } from './types';
import type { Workspace } from './workspace';
import { WeightStores } from './write/stores';

/** Quantizes layers of an open model, which is changed, and writes it to a workspace, as `name`. Rejects as `quantizeModel`. */
export async function quantizeInto(
  workspace: Workspace,
  name: string,
  opened: OpenModel,
  layers: readonly Layer[],
  data: PreparedCalibration | null,
  settings: ModelSettings,
  options: ModelOptions,
): Promise<WrittenModel> {
  if (data) for (const layer of layers) requireRoomFor(layer, data, settings);
  const stores = new WeightStores(opened, layers, settings.format, data !== null, workspace);
  const traversal = new Traversal(opened, layers, data, settings, options, workspace, stores);
  const replacements = await traversal.run();
  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  return writeModel(opened, replacements, stores, name, workspace, settings, options.signal);
}

/** Throws ERR_VERTEXQ_MEMORY, before the network is run, where a layer's fit would have no room. */
function requireRoomFor(layer: Layer, { samples }: PreparedCalibration, settings: ModelSettings): void {
  if (!layer.input) return;
  const { name, outFeatures, inFeatures, groups } = layer;
  const { method } = fitOf(settings, layer);
  // What is kept at least: whether the layer's input has changed is known only when its turn comes, and so is how many rows a sample gives.
  const kind =
    method === 'msq' && layer.input.rows.kind === 'patches' ? 'gram' : calibrationKind(method, false);
  const [rows, holdoutRows] = [samples.fit, samples.holdout];
  requireLayerMemory({
    name: `layer "${name}"`,
    outFeatures,
    inFeatures,
    groups,
    method,
    kind,
    rows,
    holdoutRows,
  });
}
