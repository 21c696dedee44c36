import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { CheckpointOptions, WeightOverride } from '../checkpoints/types';
import * as parse from './arguments';
import { choice } from './choice';

// What `vertexq quantize` takes besides for safetensors checkpoints.

/** What these flags give. */
export interface CheckpointFlags {
  activations?: string[];
  override?: Record<string, WeightOverride>;
  resume?: boolean;
  dryRun?: boolean;
}

export const checkpointFlagNames = ['activations', 'override', 'resume', 'dryRun'] as const;

/** `--format` for both kinds of input. */
export const allFormatsFlag = () =>
  choice(
    '--format <name>',
    'models: matmulnbits, com.microsoft.MatMulNBits for products and DequantizeLinear for the rest (default); qdq, DequantizeLinear for all. Checkpoints: compressed-tensors (default), gptq, gptq_v2. Both: float, values on the grid in the original layout',
    ['matmulnbits', 'qdq', 'float', 'compressed-tensors', 'gptq', 'gptq_v2'],
  );

/** `glob=bits:8,group-size:32`; several flags add up. */
export function override(
  text: string,
  before: Record<string, WeightOverride> = {},
): Record<string, WeightOverride> {
  const at = text.lastIndexOf('=');
  const own: WeightOverride = {};
  for (const setting of at > 0 ? text.slice(at + 1).split(',') : ['']) {
    const [name = '', value = ''] = setting.split(':');
    if (name === 'bits' || name === 'levels') own[name] = parse.wholeNumber(value);
    else if (name === 'group-size') own.groupSize = parse.groupSize(value);
    else if (name === 'grid') own.grid = value as NonNullable<WeightOverride['grid']>;
    else if (name === 'method') own.method = value as NonNullable<WeightOverride['method']>;
    else
      throw new InvalidArgumentError(
        'Expected a glob, "=", and settings such as bits:8,group-size:32 (bits, levels, grid, group-size, method).',
      );
  }
  return { ...before, [text.slice(0, at)]: own };
}

export function addCheckpointFlags(command: Command): Command {
  return command
    .optionsGroup('Checkpoints (.safetensors):')
    .option(
      '--activations <file...>',
      'safetensors of what layers see: rows, or Gram matrices as <name>.gram, by the names of weights (default: none, msq)',
    )
    .option(
      '--override <glob=settings>',
      'what is different for some weights, as "*down_proj*=bits:8,group-size:32"; may be given several times',
      override,
    )
    .option('--resume', 'go on with a run that was interrupted')
    .option('--dry-run', 'say what would be done, and write nothing');
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
  config: '--config',
  operators: '--operators',
  externalData: '--external-data',
  errorCorrection: '--error-correction',
  batchSize: '--batch-size',
} as const;
const onlyCheckpoints = {
  activations: '--activations',
  override: '--override',
  resume: '--resume',
  dryRun: '--dry-run',
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
  override: overrides,
  resume,
}: CheckpointFlags): CheckpointOptions {
  return {
    ...(activations && { activations }),
    ...(overrides && { overrides }),
    ...(resume !== undefined && { resume }),
  };
}
