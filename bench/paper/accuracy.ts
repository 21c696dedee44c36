import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { quantizeModel, type Feeds, type ModelOptions } from '../../lib/index';
import { accuracy, classify, loadMnist, type MnistSplit } from '../../scripts/models/mnist';
import { mulberry32, shuffle } from '../../scripts/models/trainer/random';
import { markdownTable } from '../document';

const network = join(__dirname, '..', '..', 'test', 'fixtures', 'mnist-mlp.onnx');
const heldOut = 1000;
const allDirections = 784;

export interface Outcome {
  method: string;
  bits: number;
  samples: number;
  /** Share of the 10,000 test digits. */
  accuracy: number;
  layers: { name: string; calibration: number; holdout: number }[];
}

const methods: { name: string; options: ModelOptions }[] = [
  { name: 'msq', options: { method: 'msq' } },
  { name: 'full rank, saturate', options: { method: 'maly-saab', rank: allDirections, box: 'saturate' } },
  { name: 'full rank, cell', options: { method: 'maly-saab', rank: allDirections, box: 'cell' } },
  { name: 'default', options: { method: 'maly-saab' } },
];

export const floatAccuracy = async (): Promise<number> => {
  const { test } = loadMnist();
  return accuracy(await classify(network, test.images), test.labels);
};

/** Calls `publish` with all that is known after each number of samples. */
export async function measureAccuracy(
  quick: boolean,
  publish: (outcomes: readonly Outcome[]) => Promise<void>,
): Promise<void> {
  const { train, test } = loadMnist();
  const order = Uint32Array.from({ length: train.count }, (_, i) => i);
  shuffle(order, mulberry32(1));
  const holdout = feedOf(train, order.subarray(order.length - heldOut));
  const folder = await mkdtemp(join(tmpdir(), 'vertexq-paper-'));
  const outcomes: Outcome[] = [];
  try {
    for (const samples of quick ? [64, 256] : [64, 256, 1024, 4096]) {
      for (const bits of [1, 2, 3, 4])
        for (const { name, options } of methods) {
          const output = join(folder, 'quantized.onnx');
          const report = await quantizeModel(network, output, {
            ...options,
            bits,
            grid: 'zero-free',
            groupSize: 'channel',
            format: 'float',
            calibration: feedOf(train, order.subarray(0, samples)),
            holdout,
            batchSize: 512,
          });
          outcomes.push({
            method: name,
            bits,
            samples,
            accuracy: accuracy(await classify(output, test.images), test.labels),
            layers: report.layers.map((layer) => ({
              name: layer.name,
              calibration: layer.error.own.calibration!,
              holdout: layer.error.own.holdout!,
            })),
          });
        }
      await publish(outcomes);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
}

function feedOf({ images }: MnistSplit, chosen: Uint32Array): Feeds {
  const data = new Float32Array(chosen.length * 784);
  for (const [i, image] of chosen.entries())
    data.set(images.subarray(image * 784, (image + 1) * 784), i * 784);
  return { image: { data, dims: [chosen.length, 784] } };
}

/** Right answers in percent. */
export function accuracyTable(outcomes: readonly Outcome[]): string {
  const counts = [...new Set(outcomes.map(({ samples }) => samples))];
  const rows = methods.flatMap(({ name }) =>
    [1, 2, 3, 4].map((bits) => [
      `${name}, ${bits} bit${bits > 1 ? 's' : ''}`,
      ...counts.map((m) => (100 * find(outcomes, name, bits, m).accuracy).toFixed(2)),
    ]),
  );
  return markdownTable(['right answers, %; m =', ...counts.map(String)], rows);
}

/** Each layer's error on the calibration data and on held-out images, at 2 bits. */
export function errorTable(outcomes: readonly Outcome[]): string {
  const counts = [...new Set(outcomes.map(({ samples }) => samples))];
  const rows = methods.flatMap(({ name }) =>
    find(outcomes, name, 2, counts[0]!).layers.map((layer, i) => [
      `${name}, ${layer.name}`,
      ...counts.map((m) => {
        const { calibration, holdout } = find(outcomes, name, 2, m).layers[i]!;
        return `${calibration.toFixed(3)} / ${holdout.toFixed(3)}`;
      }),
    ]),
  );
  return markdownTable(['2 bits, calibration / held out; m =', ...counts.map(String)], rows);
}

function find(outcomes: readonly Outcome[], method: string, bits: number, samples: number): Outcome {
  return outcomes.find((o) => o.method === method && o.bits === bits && o.samples === samples)!;
}
