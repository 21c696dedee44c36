import test from 'ava';
import { join } from 'node:path';
import { compareMethods, quantizeModel, type Feeds, type ModelOptions } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { loadMnist } from '../../scripts/models/mnist';
import { sentenceBatches, sentenceEncoderPath } from '../../scripts/models/sentence-encoder';
import { difference, feed, files, float, folder, network, random, run } from './networks';
import { apart } from '../numbers';

// Layers fitted to what the float network gives there.

/** Four layers with a nonlinearity between, on inputs that go together. */
const width = 48;
const deep = network({
  nodes: [0, 1, 2, 3].flatMap((i) => [
    node('MatMul', [i === 0 ? 'x' : `b${i - 1}`, `w${i}`], [i === 3 ? 'y' : `a${i}`], { name: `layer${i}` }),
    ...(i === 3 ? [] : [node('Tanh', [`a${i}`], [`b${i}`])]),
  ]),
  constants: [0, 1, 2, 3].map((i) =>
    tensor(
      `w${i}`,
      [width, width],
      random(width * width, 10 + i).map((value) => value / 4),
    ),
  ),
  inputs: [float('x', ['batch', width])],
});
const calibration = [feed([400, width], 1), feed([200, width], 2)];
const unseen = feed([300, width], 3);

test('error correction lowers the error of the whole network', async (t) => {
  const wanted = (await run(deep, unseen))['y']!;
  for (const method of ['vertex', 'gptq', 'gpfq'] as const) {
    const errorWith = async (options: ModelOptions) => {
      const { input, output } = files(t, deep);
      const report = await quantizeModel(input, output, {
        calibration,
        method,
        bits: 3,
        groupSize: 'channel',
        ...options,
      });
      return { report, error: apart((await run(output, unseen))['y']!, wanted) };
    };
    const without = await errorWith({ errorCorrection: false });
    const corrected = await errorWith({});
    t.log(`${method}: ${without.error.toFixed(4)} → ${corrected.error.toFixed(4)}`);
    t.true(corrected.error < without.error);
    t.true(without.report.layers.every(({ errorCorrection }) => !errorCorrection));
    // Before the first layer the networks are the same.
    t.deepEqual(
      corrected.report.layers.map(({ errorCorrection }) => errorCorrection),
      [false, true, true, true],
    );
    t.deepEqual(corrected.report.layers[0]!.error, without.report.layers[0]!.error);
  }
});

test("the last layer's reported error is that of the network", async (t) => {
  const { input, output } = files(t, deep);
  const report = await quantizeModel(input, output, {
    calibration,
    holdout: [unseen],
    bits: 3,
    format: 'float',
  });
  const real = apart((await run(output, unseen))['y']!, (await run(deep, unseen))['y']!);
  const told = report.layers.at(-1)!.error.holdout!;
  t.true(Math.abs(told - real) < 1e-4, `${told}, really ${real}`);
});

test('layers that read the same value share what was captured, and a tied weight is fitted once', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
      node('MatMul', ['a', 'v'], ['b'], { name: 'left' }),
      node('MatMul', ['a', 'w'], ['c'], { name: 'tied' }),
      node('Add', ['b', 'c'], ['y']),
    ],
    constants: [tensor('w', [32, 32], random(1024, 4)), tensor('v', [32, 32], random(1024, 5))],
    inputs: [float('x', ['batch', 32])],
  });
  const { input, output } = files(t, model);
  let captures = 0;
  const report = await quantizeModel(input, output, {
    calibration: [feed([200, 32], 1)],
    holdout: 0,
    onProgress: ({ stage }) => void (captures += stage === 'capture' ? 1 : 0),
  });
  t.is(captures, 2);
  t.deepEqual(
    report.layers.map(({ errorCorrection }) => errorCorrection),
    [false, true, false],
  );
});

test('rows that the network picks by their values cannot be paired', async (t) => {
  // NonZero leaves as many rows as there are positive sums, which quantization changes.
  const model = network({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
      node('Slice', ['a', 'start', 'end', 'axis'], ['column']),
      node('Relu', ['column'], ['positive']),
      node('Squeeze', ['positive', 'axis'], ['mask']),
      node('NonZero', ['mask'], ['found']),
      node('Squeeze', ['found', 'none'], ['indices']),
      node('Gather', ['a', 'indices'], ['picked']),
      node('MatMul', ['picked', 'v'], ['y'], { name: 'second' }),
    ],
    constants: [
      tensor('w', [32, 32], random(1024, 4)),
      tensor('v', [32, 32], random(1024, 5)),
      tensor('start', [1], BigInt64Array.of(0n)),
      tensor('end', [1], BigInt64Array.of(1n)),
      tensor('axis', [1], BigInt64Array.of(1n)),
      tensor('none', [1], BigInt64Array.of(0n)),
    ],
    inputs: [float('x', ['batch', 32])],
  });
  const options = { calibration: [feed([500, 32], 1)], bits: 1, groupSize: 'channel' } as const;
  const { input, output } = files(t, model);
  await t.throwsAsync(quantizeModel(input, output, options), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message:
      /layer "second": the value "picked" is .* in the quantized network and .* in the float one.*"errorCorrection" off/,
  });
  t.is((await quantizeModel(input, output, { ...options, errorCorrection: false })).layers.length, 2);
});

test('weights on the left and convolved batches: any axis of the features', async (t) => {
  const model = network({
    nodes: [
      node('MatMul', ['w', 'x'], ['a'], { name: 'first' }),
      node('MatMul', ['v', 'a'], ['y'], { name: 'second' }),
    ],
    constants: [tensor('w', [32, 32], random(1024, 4)), tensor('v', [16, 32], random(512, 5))],
    inputs: [float('x', ['batch', 32, 5])],
  });
  const { input, output } = files(t, model);
  const report = await quantizeModel(input, output, { calibration: feed([100, 32, 5], 1), bits: 8 });
  t.true(report.layers[1]!.errorCorrection);
  const data = feed([10, 32, 5], 2);
  t.true(difference((await run(model, data))['y']!, (await run(output, data))['y']!) < 0.02);
});

const fixture = (name: string) => join(__dirname, '..', 'fixtures', name);

test('the MNIST network at 2 bits: error correction lowers the error of its answers', async (t) => {
  const pixels = (first: number, count: number): Feeds => ({
    image: {
      data: loadMnist().train.images.subarray(784 * first, 784 * (first + count)),
      dims: [count, 784],
      type: 'float32',
    },
  });
  const path = folder(t);
  const held = pixels(5000, 500);
  const [wanted] = Object.values(await run(fixture('mnist-mlp.onnx'), held)) as [Float32Array];
  const errors: number[] = [];
  for (const errorCorrection of [false, true]) {
    const output = join(path, `${errorCorrection}.onnx`);
    await quantizeModel(fixture('mnist-mlp.onnx'), output, {
      calibration: pixels(0, 1500),
      bits: 2,
      effort: 0,
      errorCorrection,
    });
    errors.push(apart(Object.values(await run(output, held))[0]!, wanted));
  }
  t.log(errors.map((error) => error.toFixed(4)).join(' → '));
  t.true(errors[1]! < errors[0]!);
});

test('the sentence encoder with its first layers at 2 bits: error correction brings the embeddings nearer', async (t) => {
  const feedsOf = (sentences: string[]): Feeds[] =>
    sentenceBatches(sentences, 32).map(({ ids, mask }) => ({
      ids: { ...ids, type: 'int64' },
      mask: { ...mask, type: 'float32' },
    }));
  const sentences = brownSentences({ limit: 240 });
  const outputs = [];
  for (const errorCorrection of [false, true]) {
    const { runs } = await compareMethods(await sentenceEncoderPath(), {
      calibration: feedsOf(sentences.filter((_, i) => i % 5 !== 0)),
      holdout: feedsOf(sentences.filter((_, i) => i % 5 === 0)),
      methods: ['gptq'],
      bits: [2],
      layers: ['layer_0/attention/*', 'layer_0/residual/*'],
      errorCorrection,
    });
    outputs.push(runs[0]!.output!);
  }
  const [without, corrected] = outputs;
  t.log(without, corrected);
  t.true(corrected!.error < without!.error && corrected!.cosine! > without!.cosine!);
});

test('an abort in the middle of capturing both networks leaves nothing', async (t) => {
  const { input, output } = files(t, deep);
  const controller = new AbortController();
  const reason = { why: 'enough' };
  const error: unknown = await quantizeModel(input, output, {
    calibration,
    signal: controller.signal,
    onProgress: ({ stage, layerIndex }) => {
      if (stage === 'capture' && layerIndex === 2) controller.abort(reason);
    },
  }).catch((thrown: unknown) => thrown);
  t.is(error, reason);
});
