import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { CheckpointOptions } from '../checkpoints/types';
import { checkpointFormats, helpOf, modelFormats, namesOf } from '../encodings/names';
import { choice } from './choice';

// What `vertexq quantize` takes besides for safetensors checkpoints.

/** What these flags give. */
export interface CheckpointFlags {
  activations?: string[];
  resume?: boolean;
  dryRun?: boolean;
  allowQuantized?: boolean;
}

export const checkpointFlagNames = ['activations', 'resume', 'dryRun', 'allowQuantized'] as const;

/** `--format` for both kinds of input. */
export const allFormatsFlag = () =>
  choice(
    '--format <name>',
    `models: ${helpOf(modelFormats)}; checkpoints: ${helpOf(checkpointFormats)}; the first of each is the default`,
    [...new Set([...namesOf(modelFormats), ...namesOf(checkpointFormats)])],
  );

export function addCheckpointFlags(command: Command): Command {
  return command
    .optionsGroup('Checkpoints (.safetensors):')
    .option(
      '--activations <file...>',
      'safetensors of what layers see: rows, or Gram matrices as <name>.gram, by the names of weights (default: none, msq)',
    )
    .option('--resume', 'go on with a run that was interrupted')
    .option('--dry-run', 'say what would be done, and write nothing')
    .option(
      '--allow-quantized',
      'leave weights that are quantized already as they are (default: they stop the run)',
    );
}

/** Whether a path is that of a checkpoint: a folder, a safetensors file or an index. */
export async function isCheckpoint(input: string): Promise<boolean> {
  if (/\.safetensors(\.index\.json)?$/i.test(input)) return true;
  return stat(input).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** The options that only one of the two kinds of input has, by the flags that give them. */
const onlyModels = {
  calibration: '--calibration',
  operators: '--operators',
  externalData: '--external-data',
  errorCorrection: '--error-correction',
  batchSize: '--batch-size',
} as const;
const onlyCheckpoints = {
  activations: '--activations',
  resume: '--resume',
  dryRun: '--dry-run',
  allowQuantized: '--allow-quantized',
} as const;

/** Throws a RangeError at a flag that is for the other kind of input. */
export function refuseOthers(flags: object, isForCheckpoint: boolean): void {
  const others: Record<string, string> = isForCheckpoint ? onlyModels : onlyCheckpoints;
  for (const [name, flag] of Object.entries(others))
    if ((flags as Record<string, unknown>)[name] !== undefined)
      throw new RangeError(
        isForCheckpoint
          ? `${flag} is for ONNX models: a checkpoint takes what its layers see, with --activations`
          : `${flag} is for checkpoints: give a .safetensors file or a folder`,
      );
}

/** Checkpoint flags by the library's names. */
export function checkpointOptions({
  activations,
  resume,
  allowQuantized,
}: CheckpointFlags): CheckpointOptions {
  return {
    ...(activations && { activations }),
    ...(resume !== undefined && { resume }),
    ...(allowQuantized !== undefined && { allowQuantized }),
  };
}
