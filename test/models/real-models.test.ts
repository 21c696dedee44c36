import test, { type ExecutionContext } from 'ava';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { quantizeModel } from '../../lib/index';
import type { Feeds, Report } from '../../lib/models/types';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { accuracy, classify, loadMnist } from '../../scripts/models/mnist';
import {
  sentenceBatches,
  sentenceEncoderPath,
  type SentenceBatch,
} from '../../scripts/models/sentence-encoder';
import { difference, folder } from './networks';

const fixture = (name: string) => join(__dirname, '..', 'fixtures', name);
const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex');
/** One walk: more take minutes. */
const four = { bits: 4, groupSize: 32, effort: 0 } as const;
const rounding = { bits: 4, groupSize: 32, method: 'msq' } as const;

/** At most 17 % of the float weights' bytes: 4 bits, a float32 scale and a zero point for 32 weights are 16.0 %. */
function requireSmall(t: ExecutionContext, { bytes, layers }: Report): void {
  const share = bytes.weightsAfter / bytes.weightsBefore;
  t.log(
    `weights: ${(100 * share).toFixed(2)} %, errors ${layers.map(({ error }) => error.holdout?.toFixed(4)).join(' ')}`,
  );
  t.true(share <= 0.17, `${share}`);
  t.is(
    bytes.weightsBefore,
    layers.reduce((sum, { shape }) => sum + 4 * shape[0] * shape[1], 0),
  );
  t.true(bytes.after < bytes.before - 0.8 * bytes.weightsBefore);
}

const pixels = (count: number, shape: number[]): Feeds => ({
  image: {
    data: loadMnist().train.images.subarray(0, 784 * count),
    dims: [count, ...shape],
    type: 'float32',
  },
});

for (const { name, shape, least } of [
  { name: 'mnist-mlp.onnx', shape: [784], least: 0.975 },
  { name: 'mnist-cnn.onnx', shape: [1, 28, 28], least: 0.98 },
]) {
  test.serial(
    `${name} at 4 bits: small, right, the same in both formats and with any number of threads`,
    async (t) => {
      const path = folder(t);
      const calibration = pixels(1500, shape);
      const hashes = new Set<string>();
      let report!: Report;
      for (const threads of [1, 2, 7]) {
        const output = join(path, `${threads}.onnx`);
        report = await quantizeModel(fixture(name), output, { ...four, calibration, threads });
        hashes.add(sha256(output));
      }
      t.is(hashes.size, 1);
      requireSmall(t, report);
      t.is(report.bytes.after, statSync(join(path, '1.onnx')).size);
      t.is(report.bytes.before, statSync(fixture(name)).size);

      const float = join(path, 'float.onnx');
      await quantizeModel(fixture(name), float, { ...four, calibration, format: 'float' });
      const { images, labels } = loadMnist().test;
      const packed = await classify(join(path, '1.onnx'), images);
      const apart = difference(await classify(float, images), packed);
      t.true(apart < 1e-5, `${apart}`);
      const right = accuracy(packed, labels);
      t.log(`right: ${right}, formats apart: ${apart.toExponential(1)}`);
      t.true(right >= least, `${right}`);
    },
  );
}

const feedsOf = (sentences: string[]): Feeds[] =>
  sentenceBatches(sentences, 32).map(({ ids, mask }) => ({
    ids: { ...ids, type: 'int64' },
    mask: { ...mask, type: 'float32' },
  }));

async function embed(path: string, batches: SentenceBatch[]): Promise<Float32Array> {
  const session = await InferenceSession.create(path, { intraOpNumThreads: 2 });
  const rows: number[] = [];
  for (const { ids, mask } of batches) {
    const { embedding } = await session.run({
      ids: new Tensor('int64', ids.data, ids.dims),
      mask: new Tensor('float32', mask.data, mask.dims),
    });
    for (const value of embedding!.data as Float32Array) rows.push(value);
  }
  await session.release();
  return Float32Array.from(rows);
}

/** The mean cosine of rows of 512. */
function meanCosine(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let start = 0; start < a.length; start += 512) {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = start; i < start + 512; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! ** 2;
      bb += b[i]! ** 2;
    }
    sum += ab / Math.sqrt(aa * bb);
  }
  return sum / (a.length / 512);
}

test.serial(
  'the sentence encoder at 4 bits: small, near the float one, the same in both formats',
  async (t) => {
    const encoder = await sentenceEncoderPath();
    const path = folder(t);
    const sentences = brownSentences({ limit: 240 });
    const calibration = feedsOf(sentences.filter((_, i) => i % 4 !== 0));
    const [walked, packed, float] = [1, 2, 3].map((i) => join(path, `${i}.onnx`)) as [string, string, string];
    requireSmall(t, await quantizeModel(encoder, walked, { ...four, calibration }));
    await quantizeModel(encoder, packed, rounding);
    await quantizeModel(encoder, float, { ...rounding, format: 'float' });

    const held = sentenceBatches(
      sentences.filter((_, i) => i % 4 === 0),
      16,
    );
    const answers = await embed(packed, held);
    const apart = difference(await embed(float, held), answers);
    t.true(apart < 1e-5, `${apart}`);
    const cosine = meanCosine(await embed(encoder, held), await embed(walked, held));
    t.log(`mean cosine ${cosine.toFixed(4)}, formats apart: ${apart.toExponential(1)}`);
    t.true(cosine >= 0.97, `${cosine}`);
  },
);

test.serial(
  'the sentence encoder gives the same bytes with any number of threads, in all layers',
  async (t) => {
    const encoder = await sentenceEncoderPath();
    const path = folder(t);
    const calibration = feedsOf(brownSentences({ limit: 96 }));
    const hashes = new Set<string>();
    for (const threads of [1, 2, 7]) {
      const output = join(path, `${threads}.onnx`);
      // The quickest walk, for the time; the bytes depend on every bit of the activations all the same.
      const options = { bits: 4, groupSize: 32, method: 'maly-saab', rank: 24 } as const;
      await quantizeModel(encoder, output, { ...options, calibration, threads });
      hashes.add(sha256(output));
    }
    t.is(hashes.size, 1);
  },
);
