/**
 * Trains the two MNIST networks that the tests and benchmarks quantize, and writes them as ONNX files:
 *
 *   npx tsx scripts/models/train-mnist.ts [mlp] [cnn] [--out test/fixtures] [--seed 1]
 *
 * The same seed gives the same bytes. Takes about three minutes on one core for both.
 */
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { toBinary } from '@bufbuild/protobuf';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { accuracy, classify, correctAnswers, loadMnist } from './mnist';
import { mnistCnn, mnistMlp, type Network } from './mnist-networks';
import { mulberry32, type Random } from './trainer/random';
import { predict, train } from './trainer/training';

interface Recipe {
  readonly build: (maxBatch: number, random: Random) => Network;
  readonly epochs: number;
  readonly batch: number;
  readonly learningRate: number;
}

const recipes = new Map<string, Recipe>([
  ['mlp', { build: mnistMlp, epochs: 4, batch: 80, learningRate: 1e-3 }],
  ['cnn', { build: mnistCnn, epochs: 2, batch: 40, learningRate: 2e-3 }],
]);

/** Trains one network with its recipe, prints the test accuracy of each epoch, and gives the ONNX file's bytes. */
function trainNetwork({ build, epochs, batch, learningRate }: Recipe, seed: number): Uint8Array {
  const mnist = loadMnist();
  const random = mulberry32(seed);
  const network = build(batch, random);
  train(network.layers, mnist.train, {
    epochs,
    batch,
    learningRate,
    random,
    onEpoch: (epoch, loss, seconds) => {
      const right = accuracy(predict(network.layers, mnist.test.images, batch), mnist.test.labels);
      console.log(
        `  epoch ${epoch}/${epochs}: loss ${loss.toFixed(4)}, test accuracy ${(100 * right).toFixed(2)} %, ${seconds.toFixed(1)} s`,
      );
    },
  });
  return toBinary(ModelProtoSchema, network.toOnnx());
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    options: { out: { type: 'string', default: 'test/fixtures' }, seed: { type: 'string', default: '1' } },
    allowPositionals: true,
  });
  const seed = Number(values.seed);
  if (!Number.isInteger(seed) || seed < 0) throw new RangeError(`--seed ${values.seed}: not a whole number`);

  mkdirSync(values.out, { recursive: true });
  for (const name of positionals.length > 0 ? positionals : recipes.keys()) {
    const recipe = recipes.get(name);
    if (recipe === undefined) throw new RangeError(`no network ${name}: ${[...recipes.keys()].join(', ')}`);
    console.log(`${name}:`);
    const start = performance.now();
    const bytes = trainNetwork(recipe, seed);
    const seconds = (performance.now() - start) / 1000;

    const path = join(values.out, `mnist-${name}.onnx`);
    writeFileSync(path, bytes);
    const { images, labels, count } = loadMnist().test;
    const correct = correctAnswers(await classify(bytes, images), labels);
    const digest = createHash('sha256').update(bytes).digest('hex');
    console.log(
      `  ${seconds.toFixed(0)} s in all; ${correct} of ${count} test digits right in onnxruntime-node`,
    );
    console.log(`  ${path}: ${bytes.length} bytes, sha256 ${digest}`);
  }
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
