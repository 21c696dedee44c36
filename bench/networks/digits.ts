// The MNIST networks: fitted to training images, judged by the test images.
import type { Feeds, ModelOptions } from '../../lib';
import { accuracy, loadMnist, type MnistSplit, pixelsPerImage } from '../../scripts/models/mnist';
import { mulberry32, shuffle } from '../../scripts/models/trainer/random';
import { fixture } from './fixtures';
import type { Network, Scorer } from './network';

const imageShapes = { mlp: [pixelsPerImage], cnn: [1, 28, 28] };

export type DigitNetwork = keyof typeof imageShapes;
export const digitNetworks = Object.keys(imageShapes) as DigitNetwork[];

export const digitCounts = { calibration: 4096, holdout: 1000, judged: 10_000 };

/** The convolutions, 1 % of the weights, stay float. */
const perChannel: ModelOptions = { groupSize: 'channel', operators: ['MatMul', 'Gemm'] };

export const settings: Record<string, { options: ModelOptions }> = {
  '1 bit': { options: { ...perChannel, bits: 1, grid: 'zero-free' } },
  ternary: { options: { ...perChannel, levels: 3, grid: 'integer' } },
  '2 bits': { options: { ...perChannel, bits: 2, grid: 'zero-free' } },
};

/** The training images are drawn by `seed`. */
export function digits(name: DigitNetwork, seed: number): Network {
  const { train, test } = loadMnist();
  const order = Uint32Array.from({ length: train.count }, (_, i) => i);
  shuffle(order, mulberry32(seed));
  const { calibration, holdout, judged } = digitCounts;
  const feeds = (split: MnistSplit, chosen: Uint32Array) => feedsOf(split, chosen, imageShapes[name]);
  return {
    path: fixture(`mnist-${name}.onnx`),
    output: 'logits',
    calibration: feeds(train, order.subarray(0, calibration)),
    holdout: feeds(train, order.subarray(calibration, calibration + holdout)),
    judged: feeds(
      test,
      Uint32Array.from({ length: judged }, (_, i) => i),
    ),
    scorer: () => rightAnswers(test.labels.subarray(0, judged)),
  };
}

/** Shares are of the labels, whose images are judged in their order. */
function rightAnswers(labels: Uint8Array): Scorer {
  const logits: number[] = [];
  return {
    add: (outputs) => {
      for (const value of outputs['logits']!.data as Float32Array) logits.push(value);
    },
    result: () => ({ accuracy: accuracy(Float32Array.from(logits), labels) }),
  };
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
