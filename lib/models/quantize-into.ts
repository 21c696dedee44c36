import type { PreparedCalibration } from './calibration';
import type { Layer } from './layers/layer';
import type { ModelSettings } from './model-options';
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
  const stores = new WeightStores(opened, layers, settings.format, data !== null, workspace);
  const traversal = new Traversal(opened, layers, data, settings, options, workspace, stores);
  const replacements = await traversal.run();
  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  return writeModel(opened, replacements, stores, name, workspace, settings, options.signal);
}
