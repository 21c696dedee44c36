import test from 'ava';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { accuracy, classify, correctAnswers, loadMnist, readIdx } from '../../scripts/models/mnist';

const fixture = (name: string): string => join(__dirname, '..', 'fixtures', name);

/** How many images there are of each digit. */
function digitCounts(labels: Uint8Array): number[] {
  const counts = new Array<number>(10).fill(0);
  for (const label of labels) counts[label]!++;
  return counts;
}

test('loadMnist gives the 70,000 digits, scaled to 0..1, and reads each half once', (t) => {
  const { train, test: held } = loadMnist();
  t.is(train.count, 60_000);
  t.is(train.images.length, 60_000 * 784);
  t.is(held.count, 10_000);
  t.is(held.images.length, 10_000 * 784);
  // The counts of Yann LeCun's files.
  t.deepEqual(digitCounts(train.labels), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
  t.deepEqual(digitCounts(held.labels), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
  t.deepEqual([...train.labels.subarray(0, 5)], [5, 0, 4, 1, 9]);
  t.deepEqual([...held.labels.subarray(0, 5)], [7, 2, 1, 0, 4]);

  // The mean pixel of the training images is the 0.1307 that normalizations of MNIST subtract.
  let [sum, least, largest] = [0, Infinity, -Infinity];
  for (const pixel of train.images) {
    sum += pixel;
    if (pixel < least) least = pixel;
    if (pixel > largest) largest = pixel;
  }
  t.is((sum / train.images.length).toFixed(4), '0.1307');
  t.is(least, 0);
  t.is(largest, 1);
  t.is(loadMnist().test, held);
});

test('readIdx names the file that is missing or not what was asked for', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-mnist-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'labels');
  const read = (bytes: readonly number[]): Uint8Array => {
    writeFileSync(path, Uint8Array.from(bytes));
    return readIdx(path, [3]);
  };
  const fails = (bytes: readonly number[], message: string): void => {
    t.is(t.throws(() => read(bytes)).message, `${path}: ${message}`);
  };

  t.deepEqual([...read([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9])], [7, 8, 9]);
  fails([0, 0, 8], '3 bytes, shorter than its 8-byte header');
  fails([0, 0, 8, 3, 0, 0, 0, 3, 7, 8, 9], 'magic number 0x00000803, expected 0x00000801');
  fails([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], 'gzip-compressed; gunzip it first');
  fails([0, 0, 8, 1, 0, 0, 0, 4, 7, 8, 9, 6], 'sizes 4, expected 3');
  fails([0, 0, 8, 1, 0, 0, 0, 3, 7, 8], '10 bytes, expected 11');
  const missing = join(folder, 'missing');
  t.is(t.throws(() => readIdx(missing, [3])).message, `${missing}: cannot be read`);
});

test('accuracy counts the rows whose first largest logit is the label', (t) => {
  const logits = new Float32Array(40);
  logits[3] = 1; // row 0 answers 3
  logits[19] = 2; // row 1 answers 9
  logits.fill(-1, 20, 30); // row 2: all equal, so 0
  logits[34] = logits[36] = 5; // row 3: 4 before 6
  t.is(correctAnswers(logits, Uint8Array.of(3, 9, 0, 4)), 4);
  t.is(accuracy(logits, Uint8Array.of(3, 8, 0, 6)), 0.5);
  t.is(accuracy(new Float32Array(0), new Uint8Array(0)), 0);
  t.throws(() => accuracy(logits, Uint8Array.of(3)), { instanceOf: RangeError });
});

// The counts that test/fixtures/README.md states; another build of onnxruntime may round a near tie otherwise.
for (const [name, stated] of [
  ['mnist-mlp.onnx', 9832],
  ['mnist-cnn.onnx', 9907],
] as const) {
  test(`${name} has ${stated} of the 10,000 test digits right`, async (t) => {
    const { images, labels } = loadMnist().test;
    const correct = correctAnswers(await classify(fixture(name), images), labels);
    t.true(Math.abs(correct - stated) <= 3, `${correct} right`);
  });
}

test('classify takes a path, bytes or a session, and a last batch of any size', async (t) => {
  const { InferenceSession } = await import('onnxruntime-node');
  const images = loadMnist().test.images.subarray(0, 7 * 784);
  const session = await InferenceSession.create(fixture('mnist-cnn.onnx'));
  const whole = await classify(session, images);
  t.is(whole.length, 70);
  const inParts = await classify(session, images, 3);
  t.true(whole.every((logit, i) => Math.abs(logit - inParts[i]!) < 1e-4));
  t.deepEqual(await classify(fixture('mnist-cnn.onnx'), images), whole);
  await session.release();

  await t.throwsAsync(classify(fixture('mnist-cnn.onnx'), images.subarray(1)), { instanceOf: RangeError });
  await t.throwsAsync(classify(fixture('mnist-cnn.onnx'), images, 0), { instanceOf: RangeError });
});
