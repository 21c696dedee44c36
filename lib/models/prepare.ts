import { plainPath } from '../files/plain-path';
import { ownOptions } from '../runs/provenance';
import type { RunFiles } from '../runs/run-files';
import type { CalibrationSet } from './calibration-set';
import { networkPath, requirePath } from '../options/messages';
import { checkModelOptions, type ModelSettings } from './model-options';
import { prepareData, type SelectedLayers, selectLayers } from './model-steps';
import { modelLayers } from './layers/model-layers';
import { openModel, type OpenModel } from './open-model';
import { PlannedBytes } from './planned-bytes';
import { addModelPaths } from './run-files';
import type { ModelOptions } from './types';
import { warn } from '../warning-codes';

/** A network with all that is decided about it before it is run. */
export interface PreparedModel {
  /** Where its paths lead. */
  output: string;
  settings: ModelSettings;
  options: ModelOptions;
  opened: OpenModel;
  found: SelectedLayers;
  data: CalibrationSet | null;
}

/** Throws a RangeError where an output is called what it is not. */
function requireNetworkName(output: string): void {
  const kind = /\.(safetensors|gguf|npz|npy)$/i.exec(output)?.[1];
  if (kind !== undefined)
    throw new RangeError(
      `${output} is called a ${kind} file, and what is made of a network is an ONNX file: call it .onnx`,
    );
}

/** Opens the input, decides and checks. `isDry`: nothing will be written, and the network is not run. */
export async function prepareModel(
  runFiles: RunFiles,
  input: string,
  to: string,
  given: ModelOptions,
  isDry: boolean,
): Promise<PreparedModel> {
  requirePath('input', input, networkPath);
  requirePath('output', to, networkPath);
  const output = plainPath(to);
  const settings = checkModelOptions(given);
  // The caller may change his while this runs.
  const options = ownOptions(given);
  options.signal?.throwIfAborted();
  await addModelPaths(runFiles, input, output, options);
  await runFiles.check();
  requireNetworkName(output);
  if (!isDry) await runFiles.requireWritable();
  const opened = await openModel(input, settings.encoding);
  for (const path of opened.dataFiles) runFiles.reads("input's data", path);
  await runFiles.check();
  const found = await selectLayers(opened, settings);
  const data =
    options.calibration === undefined ? null : await prepareData(opened, found.layers, options, !isDry);
  if (data === null)
    found.warnings.push(
      warn(
        'WARN_VERTEXQ_NO_DATA',
        'No calibration data ("calibration"): every weight is rounded by itself ("msq"), and what that does to the outputs is not known.',
      ),
    );
  const layers = modelLayers(found.layers, opened.weights, settings);
  found.warnings.push(...new PlannedBytes(opened, layers, settings, data !== null).warnings());
  return { output, settings, options, opened, found, data };
}
