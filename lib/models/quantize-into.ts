import { Traversal } from '../traversal/traversal';
import type { CalibrationSet } from './calibration-set';
import { curvatureOf } from './curvature/curvature-of';
import { explainingData } from './data/not-finite';
import { ModelForward } from './forward/model-forward';
import type { LayerJournal } from './layer-journal';
import type { Layer } from './layers/layer';
import { modelLayers } from './layers/model-layers';
import type { ModelSettings } from './model-options';
import { writeModel, type WrittenModel } from './model-steps';
import type { OpenModel } from './open-model';
import type { ModelOptions } from './types';
import type { Provenance } from '../runs/provenance';
import type { Workspace } from '../runs/workspace';
import { WeightStores } from './write/stores';

/** Quantizes layers of an open model, which is changed, and writes it to a workspace, as `name`. Rejects as `quantizeModel`. */
export async function quantizeInto(
  workspace: Workspace,
  name: string,
  opened: OpenModel,
  chosen: readonly Layer[],
  data: CalibrationSet | null,
  settings: ModelSettings,
  options: ModelOptions,
  journal: LayerJournal | null = null,
  provenance: Provenance | null = null,
): Promise<WrittenModel> {
  const layers = modelLayers(chosen, opened.weights, settings);
  const forward = data && new ModelForward(opened, layers, data, workspace, settings.memory);
  const stores = new WeightStores(opened, layers, settings.encoding, data !== null, workspace);
  const replacements = await explainingData(data?.notFinite, async () => {
    const { deadline, memory } = settings;
    const curvature = data && (await curvatureOf(settings.weighting, opened, layers, data, {}, workspace, memory, options)); // prettier-ignore
    const others = { journal, ...curvature, deadline };
    return new Traversal(layers, forward, stores, options, others).run();
  });
  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  const told = { ...settings, provenance };
  return writeModel(opened, replacements, stores, name, workspace, told, options.signal);
}
