import type { Command } from 'commander';
import { helpOf, modelFormats, namesOf } from '../encodings/names';
import type { DataOptions, ModelOptions } from '../models/types';
import * as parse from './arguments';
import { choice } from './choice';
import { addReadingFlags, dataFlagsOf, onePath, type ReadingFlags } from './data-flags';

// The options that the commands which quantize have in common, by the library's names.

/** What these flags give. */
export interface ModelFlags extends ReadingFlags {
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
  operators?: string[];
  layers?: string[];
  skip?: string[];
  memory?: number;
  threads?: number;
}

export function addDataFlags(command: Command): Command {
  command
    .optionsGroup('Data:')
    .option(
      '--calibration <file...>',
      'samples: .npz, .safetensors, .jsonl, .npy; .txt or .jsonl with --tokenizer; images or a folder of them (see below)',
    )
    .option(
      '--holdout <fraction|file>',
      'share of the samples kept out of the fit for the reported error, or a file of others (default: 0.1)',
      parse.holdout,
    );
  return addReadingFlags(command);
}

/** What calibration data may be, for the help. */
export const dataHelp = `Calibration data:
  .npz, .safetensors   arrays by input name, as numpy.savez(file, ids=…, mask=…) writes them; the batch axis counts samples, or
                       a dimension in front of all that the network has. A .npy file serves a network with a single input.
  .jsonl               a sample, or a batch, a line: {"ids": [5, 2, 9], "mask": [1, 1, 1]}, or with the dimensions told
                       {"image": {"dims": [1, 28, 28], "data": [0, 0.5, …]}}. Lines may differ in length.
  text                 with --tokenizer: .txt, a text a line, or .jsonl, {"text": "…"} a line. Fills input_ids,
                       attention_mask, token_type_ids and position_ids; texts of like length are padded together.
  images               .png, .jpg or .webp files, or a folder of them, through the package sharp (npm install sharp). Scaled
                       to the size that the network fixes, or --image-size; (pixel / 255 − mean) / std.

  The batch axis of an input is the dimension called batch (or b, bs, N), or one that inputs share, else the first; --batch-axis
  says otherwise. Inputs without one (scalars, vectors of constants) are fed as they are.

  Use data like that which the network will see: as many rows reach a layer as there are samples (times tokens), and about
  twice as many as it has inputs are good. A generation model's caches (past_key_values…) are made empty for you.
`;

/** All of the alphabet but its size. `groupSize`: what it is by default. */
export function addAlphabetFlags(command: Command, groupSize = '32'): Command {
  return command
    .addOption(
      choice(
        '--grid <kind>',
        'integer {−K…K}·s; asymmetric {0…L−1}·s with a zero point; zero-free {±½, ±3⁄2, …}·s; full-range {−L/2…L/2−1}·s, no zero point and one level more than integer (default: asymmetric; integer for an odd --levels; zero-free for two)',
        ['integer', 'asymmetric', 'zero-free', 'full-range'],
      ),
    )
    .option(
      '--group-size <n|channel>',
      `inputs that share a scale, or "channel": all of a neuron's (default: ${groupSize})`,
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
    .option(
      '--operators <names>',
      'only weights of these operators, with commas between them, such as MatMul,Gemm (default: all that are known but Gather, which holds embeddings)',
      parse.words,
    )
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
    )
    .option(
      '--memory <bytes>',
      'as 768M or 2G. Models: activations kept between layers, more go to a file (default: 512M). Checkpoints: buffers (default: 768M)',
      parse.bytes,
    );
}

export const formatFlag = () =>
  choice('--format <name>', `${helpOf(modelFormats)}; the first is the default`, namesOf(modelFormats));

/** The flags of data by the library's names. */
export function dataOptions(
  flags: Omit<ModelFlags, 'format'>,
): DataOptions & { calibration?: string | string[] } {
  const { calibration } = flags;
  return {
    ...dataFlagsOf(flags),
    ...(calibration === undefined ? {} : { calibration: onePath(calibration) }),
  };
}
