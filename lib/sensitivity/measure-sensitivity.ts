import { namingMemory } from '../errors';
import { isCheckpoint } from '../checkpoints/is-checkpoint';
import { measureCheckpoint } from '../checkpoints/measure-sensitivity';
import type { CheckpointOptions } from '../checkpoints/types';
import { measureModel } from '../models/measure-sensitivity';
import type { ModelOptions } from '../models/types';
import { checkpointPath, requirePath } from '../options/messages';
import { checkOptions } from '../options/table';
import { RunFiles } from '../runs/run-files';
import type { Sensitivity } from './types';

/** How layers are fitted does not matter: widths are tried in one way. */
type Fitting =
  | ('preset' | 'bits' | 'levels' | 'effort' | 'time' | 'rank' | 'box' | 'errorCorrection' | 'weighting')
  | ('resume' | 'otherKernels' | 'targetSize' | 'targetBits' | 'sensitivity');

/** Options of `measureSensitivity`: those of the run that the widths are for. `calibration` has to be there. */
export type SensitivityOptions =
  | Omit<ModelOptions, Fitting | 'externalData'>
  | Omit<CheckpointOptions, Fitting | 'activations' | 'imatrix' | 'maxFileSize'>;

/**
 * What each layer of a network alone, in each width that the output's format has for it, does to the network's outputs: of a language model (a folder, a safetensors or GGUF file) and of networks
 * with logits the mean KL divergence, of others the squared error of a row of outputs. Told to second order, from gradients of the float network and the errors of fits by `gptq` (`msq`, if that is
 * the method): docs/budget.md. Options are those of `quantizeModel` or `quantizeCheckpoint`; the result is what their option `sensitivity` takes, by itself or in a JSON file.
 *
 * Rejects as these do, and with ERR_VERTEXQ_NO_LAYERS where no layer has a measure; with the signal's reason when aborted.
 */
export function measureSensitivity(input: string, options: SensitivityOptions): Promise<Sensitivity> {
  return measureSensitivityWith(new RunFiles(), input, options);
}

/** `measureSensitivity` of a run that reads and writes other files too. */
export async function measureSensitivityWith(
  files: RunFiles,
  input: string,
  options: SensitivityOptions,
): Promise<Sensitivity> {
  requirePath('input', input, checkpointPath);
  const isForCheckpoint = await isCheckpoint(input);
  checkOptions(isForCheckpoint ? 'sensitivityOfCheckpoint' : 'sensitivityOfModel', options);
  return namingMemory(input, () =>
    isForCheckpoint
      ? measureCheckpoint(input, options as CheckpointOptions, files)
      : measureModel(input, options as ModelOptions, files),
  );
}
