import type { Command } from 'commander';
import type { DataOptions, ImageOptions } from '../models/types';
import * as parse from './arguments';
import { choice } from './choice';

// The options that say how files of samples are read, for all commands that take some.

/** What these flags give. */
export interface ReadingFlags {
  batchSize?: number;
  batchAxis?: NonNullable<DataOptions['batchAxis']>;
  tokenizer?: string;
  maxLength?: number;
  textField?: string;
  imageSize?: [number, number];
  imageMean?: number[];
  imageStd?: number[];
  imageOrder?: NonNullable<ImageOptions['order']>;
  imageFit?: NonNullable<ImageOptions['fit']>;
}

export function addReadingFlags(command: Command): Command {
  return command
    .option(
      '--batch-size <n>',
      'samples per run of the network (default: 32, or as many as 1 MiB holds, or what the network fixes)',
      parse.wholeNumber,
    )
    .option(
      '--batch-axis <name|input=axis>',
      'where the samples lie: a dimension by name, or an axis of an input ("none": the same for all), repeatable (default: by the names)',
      parse.batchAxis,
    )
    .option(
      '--tokenizer <tokenizer.json>',
      'for text: makes input_ids, attention_mask and the like of .txt and .jsonl files',
    )
    .option(
      '--max-length <n>',
      'for text: tokens that are left of a longer one (default: what the tokenizer says, at most 512)',
      parse.wholeNumber,
    )
    .option('--text-field <name>', 'for text in .jsonl files: the field that holds it (default: text)')
    .option(
      '--image-size <height>x<width>',
      'for images: scale to so many pixels (default: what the network fixes, or their own size)',
      parse.size,
    )
    .option(
      '--image-mean <x,y,z>',
      'for images: subtracted from pixels of 0 to 1, for each channel or for all (default: 0)',
      parse.decimals,
    )
    .option('--image-std <x,y,z>', 'for images: what that is divided by (default: 1)', parse.decimals)
    .addOption(
      choice('--image-order <order>', 'for images: order of the channels (default: rgb)', ['rgb', 'bgr']),
    )
    .addOption(
      choice(
        '--image-fit <how>',
        'for images of another shape: cover cuts the middle out, contain adds borders, fill stretches (default: cover)',
        ['cover', 'contain', 'fill'],
      ),
    );
}

/** The flags by the library's names. */
export function dataFlagsOf(flags: ReadingFlags): DataOptions {
  const { batchSize, batchAxis, tokenizer, maxLength, textField } = flags;
  const { imageSize: size, imageMean: mean, imageStd: std, imageOrder: order, imageFit: fit } = flags;
  const image = given({ size, mean, std, order, fit });
  return given({
    batchSize,
    batchAxis,
    tokenizer,
    maxLength,
    textField,
    image: Object.keys(image).length === 0 ? undefined : image,
  });
}

export const readingFlagNames = [
  'batchSize',
  'batchAxis',
  'tokenizer',
  'maxLength',
  'textField',
  'imageSize',
  'imageMean',
  'imageStd',
  'imageOrder',
  'imageFit',
] as const satisfies readonly (keyof ReadingFlags)[];

/** All of `flags` but some. */
export function without<Flags extends object, Name extends keyof Flags>(
  flags: Flags,
  names: readonly Name[],
): Omit<Flags, Name> {
  return Object.fromEntries(Object.entries(flags).filter(([name]) => !names.includes(name as Name))) as Omit<
    Flags,
    Name
  >;
}

type Given<Options> = { [Name in keyof Options]?: Exclude<Options[Name], undefined> };

function given<Options extends object>(options: Options): Given<Options> {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Given<Options>;
}

/** Data as the library takes it: one path, or several. */
export function onePath(files: readonly string[]): string | string[] {
  return files.length === 1 ? files[0]! : [...files];
}
