// The MNIST networks: fitted to training images, judged by the test images.
import { join } from 'node:path';
import type { Feeds, ModelOptions } from '../../lib';
import { loadMnist, type MnistSplit, pixelsPerImage } from '../../scripts/models/mnist';
import { mulberry32, shuffle } from '../../scripts/models/trainer/random';
import { type Network, withFloat } from './network';

const imageShapes = { mlp: [pixelsPerImage], cnn: [1, 28, 28] };

export type DigitNetwork = keyof typeof imageShapes;
export const digitNetworks = Object.keys(imageShapes) as DigitNetwork[];

export const digitCounts = { calibration: 4096, holdout: 1000, judged: 10_000 };

const perChannel: ModelOptions = { groupSize: 'channel' };

export const settings: Record<string, { options: ModelOptions }> = {
  '1 bit': { options: { ...perChannel, bits: 1, grid: 'zero-free' } },
  ternary: { options: { ...perChannel, levels: 3, grid: 'integer' } },
  '2 bits': { options: { ...perChannel, bits: 2, grid: 'zero-free' } },
};

/** The training images are drawn by `seed`. */
export async function digits(name: DigitNetwork, seed: number): Promise<Network> {
  const { train, test } = loadMnist();
  const order = Uint32Array.from({ length: train.count }, (_, i) => i);
  shuffle(order, mulberry32(seed));
  const { calibration, holdout, judged } = digitCounts;
  const feeds = (split: MnistSplit, chosen: Uint32Array) => feedsOf(split, chosen, imageShapes[name]);
  return withFloat({
    path: join(__dirname, '..', '..', 'test', 'fixtures', `mnist-${name}.onnx`),
    output: 'logits',
    calibration: feeds(train, order.subarray(0, calibration)),
    holdout: feeds(train, order.subarray(calibration, calibration + holdout)),
    judged: feeds(
      test,
      Uint32Array.from({ length: judged }, (_, i) => i),
    ),
    labels: test.labels.subarray(0, judged),
  });
}

function feedsOf({ images }: MnistSplit, chosen: Uint32Array, shape: readonly number[]): Feeds[] {
  const batch = 500;
  return Array.from({ length: Math.ceil(chosen.length / batch) }, (_, i) => {
    const own = chosen.subarray(i * batch, (i + 1) * batch);
    const data = new Float32Array(own.length * pixelsPerImage);
    for (const [row, image] of own.entries())
      data.set(images.subarray(image * pixelsPerImage, (image + 1) * pixelsPerImage), row * pixelsPerImage);
    return { image: { data, dims: [own.length, ...shape] } };
  });
}
