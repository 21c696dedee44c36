import type { DataOptions, ImageOptions } from '../models/types';
import * as dataKinds from './data-kinds';
import { defaults } from './defaults';
import * as kinds from './kinds';
import type { Options } from './kinds';

// The options of data, for every call that reads some.

/** No image that a network takes is larger. */
const maxSide = 100_000;
const mostTokens = 2 ** 24;

export const image = {
  size: {
    kind: dataKinds.size(maxSide),
    help: 'for images: scale to so many pixels (default: what the network fixes, or their own size)',
    group: 'Data',
  },
  mean: {
    kind: dataKinds.perChannel(Number.isFinite, 'a finite number'),
    help: 'for images: subtracted from pixels of 0 to 1, for each channel or for all (default: 0)',
    group: 'Data',
  },
  std: {
    kind: dataKinds.perChannel((value) => value > 0 && value < Infinity, 'a number above 0'),
    help: 'for images: what that is divided by (default: 1)',
    group: 'Data',
  },
  scale: { kind: kinds.positive('what pixels of 0 to 255 are multiplied with') },
  order: {
    kind: kinds.choice(['rgb', 'bgr']),
    argument: '<order>',
    help: 'for images: order of the channels (default: rgb)',
    group: 'Data',
  },
  layout: { kind: kinds.choice(['nchw', 'nhwc']) },
  fit: {
    kind: kinds.choice(['cover', 'contain', 'fill']),
    argument: '<how>',
    help: 'for images of another shape: cover cuts the middle out, contain adds borders, fill stretches (default: cover)',
    group: 'Data',
  },
} satisfies Options<ImageOptions>;

export const data = {
  batchSize: {
    kind: kinds.integer(1),
    help: 'samples per run of the network (default: 32, or as many as leave its inputs within 1 MiB and the values between layers within 128 MiB, or what it fixes)',
    group: 'Data',
  },
  batchAxis: {
    kind: dataKinds.axes,
    help: 'where the samples lie: a dimension by name, or an axis of an input ("none": the same for all), repeatable (default: by the names)',
    group: 'Data',
  },
  tokenizer: {
    kind: kinds.path('the path of a tokenizer.json', '<tokenizer.json>'),
    help: 'for text: makes input_ids, attention_mask and the like of .txt and .jsonl files',
    group: 'Data',
  },
  sequenceLength: {
    kind: kinds.integer(1, mostTokens),
    help: `for text: cut it into windows of so many tokens, without padding (default: of checkpoints ${defaults.sequenceLength}; else see --max-length)`,
    group: 'Data',
  },
  samples: {
    kind: kinds.integer(1),
    help: 'for text: so many windows at most, spread evenly over the documents (default: all)',
    group: 'Data',
  },
  maxLength: {
    kind: kinds.integer(1, mostTokens),
    help: 'for text: tokens that are left of a longer one, instead of windows (default: what the tokenizer says, at most 512)',
    group: 'Data',
  },
  textField: {
    kind: kinds.text('the name of a field', '<name>'),
    help: 'for text in .jsonl files: the field that holds it (default: text)',
    group: 'Data',
  },
  skipBroken: {
    kind: kinds.flag,
    help: 'for images and text: leave out what cannot be read, counted and named in a warning (default: the first ends the run)',
    group: 'Data',
  },
  image: { kind: kinds.object(image, 'image option'), group: 'Data' },
} satisfies Options<DataOptions>;
