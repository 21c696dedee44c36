import type { PreparedCalibration } from './calibration';
import { isSeen, type Layer } from './layers/layer';
import { calibrationKind } from '../methods';
import { requireLayerMemory } from '../layers/layer-memory';
import type { LayerJournal } from './layer-journal';
import { fitOf, type ModelSettings } from './model-options';
import { writeModel, type WrittenModel } from './model-steps';
import type { OpenModel } from './open-model';
import { changedValues } from './traversal/changed-values';
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
  journal: LayerJournal | null = null,
): Promise<WrittenModel> {
  if (data) {
    const changed = changedValues(opened.graph, layers);
    for (const layer of layers) requireRoomFor(layer, changed, data, settings);
  }
  const stores = new WeightStores(opened, layers, settings.encoding, data !== null, workspace);
  const traversal = new Traversal(opened, layers, data, settings, options, workspace, stores, journal);
  const replacements = await traversal.run();
  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  return writeModel(opened, replacements, stores, name, workspace, settings, options.signal);
}

/** Throws ERR_VERTEXQ_MEMORY, before the network is run, where a layer's fit would have no room. */
function requireRoomFor(
  layer: Layer,
  changed: ReadonlySet<string>,
  { samples }: PreparedCalibration,
  settings: ModelSettings,
): void {
  if (!layer.input) return;
  const { name, outFeatures, inFeatures, groups } = layer;
  const { method, errorCorrection } = fitOf(settings, layer);
  const corrects = errorCorrection && isSeen(layer) && changed.has(layer.input.value);
  // How many rows a sample gives is known only when its turn comes.
  const kind = calibrationKind(method, corrects, layer.input.rows.kind === 'patches');
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
