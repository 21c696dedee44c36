import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type Sharp from 'sharp';
import { VertexqError } from '../../errors';
import { InputFile, requireMemory } from '../../files/input-file';
import { plainPath } from '../../files/plain-path';
import { abortable } from '../../native/aborts';
import { optionalPackage } from '../../optional-package';
import { describe } from '../../options/messages';
import { Turns } from '../../yielding';
import type { ImageOptions } from '../types';
import { Broken, skippedWarnings } from './broken';
import { madeInputs } from './made-inputs';
import type { Piece } from './samples';
import type { Warning } from '../../warning-codes';
import { calibrationError, checkTensor, type ModelInput } from './tensor-checks';

const extension = /\.(png|jpe?g|webp)$/i;
/** What a file of such a name may hold: the library would also draw what is none of these. */
const formats = new Set(['png', 'jpeg', 'webp']);
/** No photograph has more; a few bytes of a file can ask for it. */
const maxPixels = 2 ** 28;
/** Pixels that are converted at once. */
const pixelsAtOnce = 2 ** 15;

export function isImage(path: string): boolean {
  return extension.test(path);
}

/** The images of a folder and those in it, in the order of their paths. Throws ERR_VERTEXQ_CALIBRATION where it has none. */
export async function imagesIn(path: string): Promise<string[]> {
  const folder = plainPath(path);
  let names: string[];
  try {
    names = await readdir(folder, { recursive: true });
  } catch (cause) {
    throw new VertexqError('ERR_VERTEXQ_FILE', `${folder} cannot be read: ${(cause as Error).message}`, {
      cause,
    });
  }
  const images = names.filter(isImage).sort();
  if (images.length === 0)
    throw calibrationError(folder, 'is a folder without images: expected .png, .jpg or .webp files');
  return images.map((name) => join(folder, name));
}

/** What the network wants of an image. */
interface ImageInput {
  input: ModelInput;
  channels: 1 | 3;
  channelsLast: boolean;
  /** null where it may be any. */
  height: number | null;
  width: number | null;
  mean: readonly number[];
  std: readonly number[];
  scale: number;
  reversed: boolean;
  fit: NonNullable<ImageOptions['fit']>;
}

/**
 * Reads images, each a sample, through `sharp`; with `skipBroken` those that can be read, with a warning of the others. Rejects with ERR_VERTEXQ_IMAGE where that is not installed, or cannot read one;
 * ERR_VERTEXQ_UNSUPPORTED where the network does not take images.
 */
export async function readImages(
  paths: readonly string[],
  inputs: readonly ModelInput[],
  options: ImageOptions,
  signal?: AbortSignal,
  skipBroken = false,
): Promise<{ pieces: Piece[]; warnings: Warning[] }> {
  const wanted = wantedOf(inputs, options);
  const sharp = optionalPackage('sharp', 'ERR_VERTEXQ_IMAGE', 'Calibration data of images') as typeof Sharp;
  const pieces: Piece[] = [];
  const broken = new Broken(skipBroken);
  let bytes = 0;
  for (const path of paths) {
    signal?.throwIfAborted();
    const image = await readImage(sharp, path, wanted, signal).catch((error: unknown) => broken.note(error));
    if (!image) continue;
    const tensor = await checkTensor(image, wanted.input, path, signal);
    bytes += (tensor.data as Float32Array).byteLength;
    requireMemory(bytes, 'the images');
    pieces.push({ tensors: new Map([[wanted.input.name, tensor]]), samples: 1 });
  }
  const { length } = pieces;
  return { pieces, warnings: skippedWarnings(broken.found(length), length, 'images') };
}

type Size3 = [number | null, number | null, number | null];

function wantedOf(inputs: readonly ModelInput[], options: ImageOptions): ImageInput {
  const made = new Set(madeInputs(inputs, new Set()));
  const [input, ...others] = inputs.filter((one) => !made.has(one));
  const unsupported = (message: string) =>
    new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `Images fill a single input of four dimensions, ${message}: give tensors by input name, in an .npz, .safetensors or .jsonl file`,
    );
  if (!input || others.length > 0)
    throw unsupported(
      `and the network has the inputs ${inputs.map(({ name }) => describe(name)).join(', ')}`,
    );
  const shape = input.dims?.map((dim) => dim ?? '?').join(', ');
  if (input.dims !== null && input.dims.length !== 4)
    throw unsupported(`and the network's ${describe(input.name)} has [${shape}]`);
  if (!['float32', 'float16', 'float64', 'uint8'].includes(input.type))
    throw unsupported(`of floats or uint8, and the network's ${describe(input.name)} is ${input.type}`);
  const fixed = (axis: number) => {
    const dim = input.dims?.[axis];
    return typeof dim === 'number' && dim > 0 ? dim : null;
  };
  const isChannels = (dim: number | null) => dim === 1 || dim === 3;
  const channelsLast =
    options.layout === undefined ? !isChannels(fixed(1)) && isChannels(fixed(3)) : options.layout === 'nhwc';
  const [channels, height, width] = (channelsLast ? [3, 1, 2] : [1, 2, 3]).map(fixed) as Size3;
  if (channels !== null && !isChannels(channels))
    throw unsupported(
      `with 1 or 3 channels, and the network's ${describe(input.name)} [${shape}] has ${channels} in the layout "${channelsLast ? 'nhwc' : 'nchw'}" (the option "image.layout" says which)`,
    );
  const size = options.size ?? [height, width];
  for (const [i, side] of [height, width].entries())
    if (side !== null && size[i] !== side)
      throw new RangeError(
        `The "image.size" option is ${size.join('×')}, and the network's input ${describe(input.name)} [${shape}] fixes ${height ?? '?'}×${width ?? '?'}: leave it out`,
      );
  const three = (value: number | readonly number[]) =>
    typeof value === 'number'
      ? [value, value, value]
      : value.length === 1
        ? [value[0]!, value[0]!, value[0]!]
        : value;
  return {
    input,
    channels: channels === 1 ? 1 : 3,
    channelsLast,
    height: size[0] ?? null,
    width: size[1] ?? null,
    mean: three(options.mean ?? 0),
    std: three(options.std ?? 1),
    scale: options.scale ?? 1 / 255,
    reversed: options.order === 'bgr',
    fit: options.fit ?? 'cover',
  };
}

async function readImage(
  sharp: typeof Sharp,
  path: string,
  wanted: ImageInput,
  signal: AbortSignal | undefined,
) {
  const { height, width, channels, fit } = wanted;
  const bytes = await InputFile.with(path, (file) => file.read(0, file.size));
  let pixels: { data: Buffer; info: Sharp.OutputInfo };
  try {
    const image = sharp(bytes, { failOn: 'error', limitInputPixels: maxPixels });
    const { format } = await image.metadata();
    if (!formats.has(format)) throw new Error(`it holds ${format}, not PNG, JPEG or WebP`);
    // As a viewer shows it: cameras leave the turning to the reader.
    image.rotate();
    if (height !== null || width !== null)
      image.resize({ ...(height === null ? {} : { height }), ...(width === null ? {} : { width }), fit });
    image
      .removeAlpha()
      .toColourspace(channels === 1 ? 'b-w' : 'srgb')
      .raw({ depth: 'uchar' });
    pixels = await abortable(image.toBuffer({ resolveWithObject: true }), signal);
  } catch (cause) {
    signal?.throwIfAborted();
    throw new VertexqError(
      'ERR_VERTEXQ_IMAGE',
      `${path} cannot be read as an image: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
  return tensorOf(pixels.data, pixels.info, wanted, new Turns(signal));
}

/** The pixels, row by row with their channels side by side, as the network takes them. */
async function tensorOf(
  pixels: Uint8Array,
  found: { height: number; width: number; channels: number },
  wanted: ImageInput,
  turns: Turns,
) {
  const { channels, channelsLast, scale, mean, std, reversed, input } = wanted;
  const { height, width } = found;
  const count = height * width;
  const raw = input.type === 'uint8';
  const Elements = raw ? Uint8Array : input.type === 'float64' ? Float64Array : Float32Array;
  const data = new Elements(count * channels);
  for (let channel = 0; channel < channels; channel++) {
    // A grey image has one channel for all.
    const from = Math.min(reversed ? channels - 1 - channel : channel, found.channels - 1);
    const [factor, offset] = raw ? [1, 0] : [scale / std[channel]!, mean[channel]! / std[channel]!];
    const [start, step] = channelsLast ? [channel, channels] : [channel * count, 1];
    for (let begin = 0; begin < count; begin += pixelsAtOnce) {
      if (turns.due) await turns.next();
      for (let i = begin; i < Math.min(count, begin + pixelsAtOnce); i++)
        data[start + i * step] = pixels[i * found.channels + from]! * factor - offset;
    }
  }
  const dims = channelsLast ? [1, height, width, channels] : [1, channels, height, width];
  return { data, dims };
}
