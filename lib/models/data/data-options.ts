import { describe, requireInteger, requireKnown, requireOneOf } from '../../options';
import type { DataOptions, ImageOptions } from '../types';

// The options that say how data is read.

type Given<Options> = { [Name in keyof Options]?: Options[Name] | undefined };

export const dataOptionNames: readonly (keyof DataOptions)[] = [
  'batchSize',
  'batchAxis',
  'tokenizer',
  'maxLength',
  'textField',
  'image',
];
const imageOptionNames: readonly (keyof ImageOptions)[] = [
  'size',
  'mean',
  'std',
  'scale',
  'order',
  'layout',
  'fit',
];
/** No image that a network takes is larger. */
const maxSide = 100_000;

/** The data options among others. */
export function dataOptionsOf(options: Given<DataOptions>): DataOptions {
  return Object.fromEntries(
    dataOptionNames.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
}

/** Throws a TypeError or RangeError at an option that does not fit. */
export function checkDataOptions({
  batchSize,
  batchAxis,
  tokenizer,
  maxLength,
  textField,
  image,
}: Given<DataOptions>) {
  if (batchSize !== undefined) requireInteger('batchSize', batchSize, 1, Infinity);
  if (batchAxis !== undefined) checkBatchAxis(batchAxis);
  if (tokenizer !== undefined && (typeof tokenizer !== 'string' || tokenizer === ''))
    throw new TypeError(
      `Expected the "tokenizer" option to be the path of a tokenizer.json, not ${describe(tokenizer)}`,
    );
  if (maxLength !== undefined) requireInteger('maxLength', maxLength, 1, 2 ** 24);
  if (textField !== undefined && (typeof textField !== 'string' || textField === ''))
    throw new TypeError(
      `Expected the "textField" option to be the name of a field, not ${describe(textField)}`,
    );
  for (const [name, value] of Object.entries({ maxLength, textField }))
    if (value !== undefined && tokenizer === undefined)
      throw new RangeError(
        `The "${name}" option is about text, which needs a "tokenizer": the path of a tokenizer.json`,
      );
  if (image !== undefined) checkImageOptions(image);
}

/** What the network's inputs have to say about it comes later. */
function checkBatchAxis(batchAxis: unknown): void {
  const isObject = typeof batchAxis === 'object' && batchAxis !== null && !Array.isArray(batchAxis);
  if (!isObject && (typeof batchAxis !== 'string' || batchAxis === ''))
    throw new TypeError(
      `Expected the "batchAxis" option to be the name of a dimension, or axes by input such as { x: 1, scale: null }, not ${describe(batchAxis)}`,
    );
  if (isObject)
    for (const [name, axis] of Object.entries(batchAxis))
      if (axis !== null) requireInteger(`batchAxis.${name}`, axis, 0, 63);
}

function checkImageOptions(image: ImageOptions): void {
  requireKnown(image, imageOptionNames, 'image option');
  const { size, mean, std, scale, order, layout, fit } = image;
  if (size !== undefined) {
    if (!Array.isArray(size) || size.length !== 2)
      throw new TypeError(
        `Expected the "image.size" option to be [height, width] in pixels, not ${describe(size)}`,
      );
    for (const side of size) requireInteger('image.size', side, 1, maxSide);
  }
  if (mean !== undefined) perChannel('image.mean', mean, Number.isFinite, 'a finite number');
  if (std !== undefined) perChannel('image.std', std, isPositive, 'a number above 0');
  if (scale !== undefined && !isPositive(scale))
    throw new (typeof scale === 'number' ? RangeError : TypeError)(
      `Expected the "image.scale" option to be a number above 0, what pixels of 0 to 255 are multiplied with, not ${describe(scale)}`,
    );
  if (order !== undefined) requireOneOf('image.order', order, ['rgb', 'bgr']);
  if (layout !== undefined) requireOneOf('image.layout', layout, ['nchw', 'nhwc']);
  if (fit !== undefined) requireOneOf('image.fit', fit, ['cover', 'contain', 'fill']);
}

const isPositive = (value: unknown) => typeof value === 'number' && value > 0 && value < Infinity;

function perChannel(name: string, value: unknown, fits: (value: unknown) => boolean, what: string): void {
  const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
  const odd = list.findIndex((item) => !fits(item));
  if (odd < 0 && (list.length === 1 || list.length === 3)) return;
  const came =
    odd < 0 ? `${list.length} numbers` : `${describe(list[odd])}${Array.isArray(value) ? ` at ${odd}` : ''}`;
  const type = odd >= 0 && typeof list[odd] !== 'number' ? TypeError : RangeError;
  throw new type(
    `Expected the "${name}" option to be ${what}, or three of them, one a channel in the order of "image.order", not ${came}`,
  );
}
