import { Option, type Command } from 'commander';
import type { ModelOptions } from '../models/types';
import * as parse from './arguments';

// The options that the commands which quantize have in common, by the library's names.

/** What these flags give. */
export interface ModelFlags {
  calibration?: string[];
  holdout?: number | string;
  grid?: NonNullable<ModelOptions['grid']>;
  groupSize?: number | 'channel';
  box?: NonNullable<ModelOptions['box']>;
  rank?: number | 'auto';
  scale?: NonNullable<ModelOptions['scale']>;
  effort?: number | 'auto';
  damping?: number;
  errorCorrection?: boolean;
  format?: NonNullable<ModelOptions['format']>;
  layers?: string[];
  skip?: string[];
  batchSize?: number;
  threads?: number;
}

export const choice = (flags: string, text: string, choices: readonly string[]) =>
  new Option(flags, text).choices(choices);

export function addDataFlags(command: Command): Command {
  return command
    .optionsGroup('Data:')
    .option(
      '--calibration <file...>',
      '.npz files of input tensors by name, or .npy files for a single input',
    )
    .option(
      '--holdout <fraction|file>',
      'share of the samples kept out of the fit for the reported error, or a file of others (default: 0.1)',
      parse.holdout,
    )
    .option(
      '--batch-size <n>',
      'samples per run of the network (default: 32, or what the network fixes)',
      parse.wholeNumber,
    );
}

/** All of the alphabet but its size. */
export function addAlphabetFlags(command: Command): Command {
  return command
    .addOption(
      choice(
        '--grid <kind>',
        'integer {−K…K}·s; asymmetric {0…L−1}·s with a zero point; zero-free {±½, ±3⁄2, …}·s (default: asymmetric; integer for an odd --levels; zero-free for two)',
        ['integer', 'asymmetric', 'zero-free'],
      ),
    )
    .option(
      '--group-size <n|channel>',
      'inputs that share a scale, or "channel": all of a neuron\'s (default: 32)',
      parse.groupSize,
    )
    .addOption(
      choice(
        '--scale <rule>',
        'search: the least output error sets it; max: the largest weight, as maly-saab needs (default: search; max for maly-saab)',
        ['max', 'search'],
      ),
    );
}

/** What methods take besides. */
export function addMethodFlags(command: Command): Command {
  return command
    .option(
      '--effort <n|auto>',
      'vertex: how many more answers to recombine after the walk, each pass only lowers the error, 0 is the walk alone (default: auto, by cost)',
      parse.effort,
    )
    .option(
      '--damping <x>',
      'vertex, gptq: a share of the mean diagonal added to the second moments; raise it where samples are few (default: by method)',
      parse.decimal,
    )
    .option(
      '--rank <n|fraction|auto>',
      'vertex, maly-saab: directions of the data that the walk holds exactly: a number, a fraction of the inputs, or auto (default: auto)',
      parse.rank,
    )
    .addOption(
      choice(
        '--box <kind>',
        'maly-saab: where the walk stays: cell, the two levels around each weight; saturate, the whole alphabet (default: cell)',
        ['cell', 'saturate'],
      ),
    )
    .option(
      '--error-correction',
      'vertex, gptq, gpfq: fit each layer to what the float network gives there, to undo errors of the layers before it (default)',
    )
    .option('--no-error-correction', 'fit each layer to its own outputs: half of the runs of the network');
}

export function addLayerFlags(command: Command): Command {
  return command
    .optionsGroup('Layers:')
    .option('--layers <glob...>', 'only layers with such names (vertexq inspect lists them)')
    .option('--skip <glob...>', 'all but layers with such names');
}

export function addThreadsFlag(command: Command): Command {
  return command
    .optionsGroup('Other:')
    .option(
      '--threads <n>',
      'threads for the numerical work; results do not depend on it (default: all cores)',
      parse.wholeNumber,
    );
}

export const formatFlag = () =>
  choice(
    '--format <name>',
    'matmulnbits: com.microsoft.MatMulNBits nodes, small; float: values on the grid in the original layout (default: matmulnbits)',
    ['matmulnbits', 'float'],
  );

/** Calibration data as the library takes it: one path, or several. */
export function calibrationOf(files: readonly string[] | undefined): { calibration?: string | string[] } {
  if (files === undefined) return {};
  return { calibration: files.length === 1 ? files[0]! : [...files] };
}

/** The files among what was given. */
export function dataFiles({ calibration = [], holdout }: Pick<ModelFlags, 'calibration' | 'holdout'>) {
  return [...calibration, ...(typeof holdout === 'string' ? [holdout] : [])];
}
