import test from 'ava';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { compareMethods, quantizeModel, type Feeds, type ModelOutputs } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { accuracy, loadMnist } from '../../scripts/models/mnist';
import { feed, files, float, folder, network, random, run } from '../models/networks';
import { sameBytes } from '../files/same-bytes';

const model = network({
  nodes: [
    node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
    node('Tanh', ['a'], ['b']),
    node('MatMul', ['b', 'v'], ['y'], { name: 'second' }),
  ],
  constants: [tensor('w', [32, 48], random(32 * 48, 1)), tensor('v', [48, 16], random(48 * 16, 2))],
  inputs: [float('x', ['batch', 32])],
});
const calibration = [feed([200, 32], 1)];
const holdout = [feed([40, 32], 5), feed([3, 32], 6)];

test('runs are those of quantizeModel, and outputs those of onnxruntime', async (t) => {
  const { input, output } = files(t, model);
  const before = readFileSync(input);
  const comparison = await compareMethods(input, {
    calibration,
    holdout,
    methods: ['vertex', 'maly-saab', 'msq'],
    bits: [2, 4],
    effort: 1,
    rank: 0.5,
  });
  t.deepEqual(readdirSync(dirname(input)), ['in.onnx']);
  sameBytes(t, readFileSync(input), before);
  t.like(comparison, { input, samples: { calibration: 200, holdout: 43 }, score: null, warnings: [] });
  const own = { vertex: { effort: 1, rank: 0.5 }, 'maly-saab': { rank: 0.5 }, msq: {}, gptq: {}, gpfq: {} };
  for (const { method, bits, layers, output: told, bytes } of comparison.runs) {
    const report = await quantizeModel(input, output, { calibration, holdout, method, bits, ...own[method] });
    const timeless = (list: typeof layers) => list.map((layer) => ({ ...layer, seconds: 0 }));
    t.deepEqual(timeless(layers), timeless(report.layers));
    t.deepEqual(bytes, { before: report.bytes.weightsBefore, after: report.bytes.weightsAfter });
    let [error, signal, cosines] = [0, 0, 0];
    for (const feeds of holdout) {
      const [wanted, got] = [(await run(input, feeds))['y']!, (await run(output, feeds))['y']!];
      for (let row = 0; row < wanted.length; row += 16) {
        let [ab, aa, bb] = [0, 0, 0];
        for (let i = row; i < row + 16; i++) {
          error += (got[i]! - wanted[i]!) ** 2;
          ab += wanted[i]! * got[i]!;
          aa += wanted[i]! ** 2;
          bb += got[i]! ** 2;
        }
        signal += aa;
        cosines += ab / Math.sqrt(aa * bb);
      }
    }
    t.true(Math.abs(told!.error - Math.sqrt(error / signal)) < 1e-4, `${method} ${bits}`);
    t.true(Math.abs(told!.cosine! - cosines / 43) < 1e-4);
    t.is(told!.rows, 43);
  }
});

test('the MNIST network: vertex is nearer to the float network than rounding, and keeps more answers', async (t) => {
  const path = join(__dirname, '..', 'fixtures', 'mnist-mlp.onnx');
  const { images, labels } = loadMnist().train;
  const pixels = (first: number, count: number): Feeds => ({
    image: { data: images.subarray(784 * first, 784 * (first + count)), dims: [count, 784], type: 'float32' },
  });
  const held = [pixels(5000, 300), pixels(5300, 200)];
  const { runs, score, warnings } = await compareMethods(path, {
    calibration: pixels(0, 1600),
    holdout: held,
    methods: ['vertex', 'gptq', 'msq'],
    bits: [2],
    effort: 0,
    score: (outputs, feeds) => {
      t.deepEqual(feeds.length, 2);
      const logits = outputs.flatMap((answer) => [...(Object.values(answer)[0]!.data as Float32Array)]);
      return accuracy(Float32Array.from(logits), labels.subarray(5000, 5500));
    },
  });
  const [vertex, gptq, msq] = runs;
  t.log(
    runs.map((one) => `${one.method} ${one.output!.error.toFixed(4)} ${one.score}`),
    score,
  );
  t.true(vertex!.output!.error < msq!.output!.error && gptq!.output!.error < msq!.output!.error);
  t.true(vertex!.output!.cosine! > msq!.output!.cosine!);
  t.true(score! > 0.95 && vertex!.score! > 0.9);
  t.true(vertex!.bytes.after < 0.11 * vertex!.bytes.before);
  t.deepEqual(warnings, []);
});

test('nothing held out, and outputs that are no floats', async (t) => {
  const { input } = files(t, model);
  const options = { calibration, methods: ['msq'], bits: [3] } as const;
  const none = await compareMethods(input, { ...options, holdout: 0, score: () => 1 });
  t.deepEqual([none.runs[0]!.output, none.runs[0]!.score, none.score], [null, null, null]);
  t.regex(none.warnings[0]!, /Nothing is held out/);
  const labels = network({
    nodes: [
      ...model.graph!.node.slice(0, 2),
      node('MatMul', ['b', 'v'], ['c'], { name: 'second' }),
      node('ArgMax', ['c'], ['y'], { attributes: { axis: 1n } }),
    ],
    constants: model.graph!.initializer,
    inputs: [float('x', ['batch', 32])],
    outputs: [{ ...float('y'), type: integers() }],
  });
  const { runs, warnings, score } = await compareMethods(files(t, labels).input, {
    ...options,
    score: ([first]) => Number((first!['y']!.data as BigInt64Array)[0]),
  });
  t.is(runs[0]!.output, null);
  t.true(Number.isInteger(score) && Number.isInteger(runs[0]!.score));
  t.regex(warnings[0]!, /no float output/);
});

const integers = () => {
  const made = float('y').type!;
  if (made.value.case === 'tensorType') made.value.value.elemType = 7;
  return made;
};

test("a run's error is the mean over the layers that have one", async (t) => {
  const dead = network({
    nodes: [
      ...model.graph!.node.slice(0, 2),
      node('MatMul', ['b', 'v'], ['c'], { name: 'second' }),
      node('Mul', ['x', 'none'], ['d']),
      node('MatMul', ['d', 'u'], ['e'], { name: 'dead' }),
      node('Add', ['c', 'e'], ['y']),
    ],
    constants: [
      ...model.graph!.initializer,
      tensor('none', [1], Float32Array.of(0)),
      tensor('u', [32, 16], random(32 * 16, 3)),
    ],
    inputs: [float('x', ['batch', 32])],
  });
  const options = { calibration, holdout, methods: ['gptq'], bits: [3] } as const;
  const [run] = (await compareMethods(files(t, dead).input, options)).runs;
  const errors = new Map(run!.layers.map(({ name, error }) => [name, error]));
  t.like(errors.get('dead'), { calibration: null, holdout: null });
  for (const of of ['calibration', 'holdout'] as const) {
    const known = ['first', 'second'].map((name) => errors.get(name)![of]!);
    t.true(Math.abs(run!.error[of]! - Math.hypot(...known) / Math.SQRT2) < 1e-12);
  }
  const two = { calibration: 2, holdout: 2 };
  t.deepEqual(run!.measured, { own: two, againstFloat: two, ...two });
});

test('a score that is no number, or throws, is what the call rejects with', async (t) => {
  const { input } = files(t, model);
  const options = { calibration, methods: ['msq'], bits: [3] } as const;
  const wrong = (() => 'good') as unknown as (outputs: readonly ModelOutputs[]) => number;
  await t.throwsAsync(compareMethods(input, { ...options, score: wrong }), {
    instanceOf: TypeError,
    message: /"score" option to return a number, not "good"/,
  });
  const thrown = new Error('mine');
  const failing = compareMethods(input, { ...options, score: () => Promise.reject(thrown) });
  t.is(await failing.catch((error: unknown) => error), thrown);
});

test('an abort in the middle rejects with its reason', async (t) => {
  const path = folder(t);
  const { input } = files(t, model);
  for (const at of [0, 1]) {
    const controller = new AbortController();
    const reason = { at };
    const error: unknown = await compareMethods(input, {
      calibration,
      methods: ['gptq', 'msq'],
      bits: [2],
      signal: controller.signal,
      onProgress: ({ runIndex, stage }) => {
        if (runIndex === at && stage === 'capture') controller.abort(reason);
      },
    }).catch((thrown: unknown) => thrown);
    t.is(error, reason);
  }
  t.deepEqual(readdirSync(path), []);
});
