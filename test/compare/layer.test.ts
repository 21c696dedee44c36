import test from 'ava';
import { noErrors } from '../../lib/fit/layer-errors';
import { compareMethods, quantizeLayer, type Progress } from '../../lib/index';
import { normals, product } from '../fit/data';

const n = 48;
const mix = normals(n * n, 9).map((value, i) => value / Math.sqrt(1 + Math.floor(i / n)));
const rows = (samples: number, seed: number) => product(normals(samples * n, seed), mix, samples, n, n);
const layer = {
  weight: normals(20 * n, 1),
  outFeatures: 20,
  inFeatures: n,
  activations: rows(300, 2),
  holdout: rows(100, 3),
};

test('every method at every width, as quantizeLayer gives it', async (t) => {
  const comparison = await compareMethods(layer, {
    methods: ['msq', 'vertex', 'maly-saab', 'gptq', 'gpfq'],
    bits: [3, 2],
    effort: 1,
    scale: 'search',
    rank: 0.5,
  });
  t.deepEqual(comparison.methods, ['msq', 'vertex', 'maly-saab', 'gptq', 'gpfq']);
  t.deepEqual(comparison.bits, [3, 2]);
  t.like(comparison, { input: 'layer', score: null, samples: { calibration: 300, holdout: 100 } });
  t.is(comparison.environment.onnxruntime, null);
  t.deepEqual(
    comparison.runs.map(({ method, bits }) => `${method} ${bits}`),
    [3, 2].flatMap((bits) => comparison.methods.map((method) => `${method} ${bits}`)),
  );
  const own = {
    vertex: { effort: 1, rank: 0.5, scale: 'search' },
    'maly-saab': { rank: 0.5 },
    gptq: { scale: 'search' },
    gpfq: { scale: 'search' },
    msq: { scale: 'search' },
  } as const;
  for (const { method, bits, layers, error, measured, output, score, bytes } of comparison.runs) {
    const { report } = await quantizeLayer(layer, { method, bits, ...own[method] });
    t.deepEqual({ ...layers[0]!, seconds: 0 }, { ...report, seconds: 0 });
    t.deepEqual(error, {
      own: report.error.own,
      againstFloat: null,
      ...{ calibration: report.error.calibration, holdout: report.error.holdout },
    });
    const one = { calibration: 1, holdout: 1 };
    t.deepEqual(measured, { own: one, againstFloat: { calibration: 0, holdout: 0 }, ...one });
    t.deepEqual([output, score, bytes], [null, null, report.bytes]);
  }
});

test('by default four methods at 2, 3 and 4 bits; with target activations those that aim at them', async (t) => {
  const plain = await compareMethods(layer, { effort: 0 });
  t.deepEqual(plain.methods, ['vertex', 'gptq', 'gpfq', 'msq']);
  t.deepEqual(plain.bits, [2, 3, 4]);
  for (const bits of [2, 3, 4]) {
    const [vertex, gptq, , msq] = plain.runs.filter((run) => run.bits === bits);
    t.true(vertex!.error.calibration! <= gptq!.error.calibration! * 1.001);
    t.true(gptq!.error.calibration! < msq!.error.calibration!);
  }
  const aimed = await compareMethods(
    { ...layer, targetActivations: layer.activations.map((value) => 1.1 * value) },
    { bits: [3] },
  );
  t.deepEqual(aimed.methods, ['vertex', 'gptq', 'gpfq']);
  t.true(aimed.runs.every(({ layers }) => layers[0]!.errorCorrection));
});

test('the same numbers when the arrays are changed meanwhile, and for any number of threads', async (t) => {
  const options = { methods: ['vertex', 'msq'] as const, bits: [2], effort: 1 };
  const expected = await compareMethods(layer, options);
  const given = {
    ...layer,
    weight: layer.weight.slice(),
    activations: layer.activations.slice(),
    holdout: layer.holdout.slice(),
  };
  const job = compareMethods(given, { ...options, threads: 3 });
  for (const array of [given.weight, given.activations, given.holdout]) array.fill(NaN);
  const got = await job;
  t.deepEqual(
    got.runs.map(({ error }) => error),
    expected.runs.map(({ error }) => error),
  );
});

test('progress says which run; an abort in the middle rejects with its reason', async (t) => {
  const seen: Progress[] = [];
  const options = { methods: ['gptq', 'msq'] as const, bits: [2, 3] };
  await compareMethods(layer, { ...options, onProgress: (progress) => seen.push(progress) });
  t.deepEqual(
    [...new Set(seen.map(({ run, runIndex, runCount }) => `${run} ${runIndex}/${runCount}`))],
    ['gptq, 2 bits 0/4', 'msq, 2 bits 1/4', 'gptq, 3 bits 2/4', 'msq, 3 bits 3/4'],
  );
  const controller = new AbortController();
  const reason = { why: 'enough' };
  const error: unknown = await compareMethods(layer, {
    ...options,
    signal: controller.signal,
    onProgress: ({ runIndex }) => runIndex === 1 && controller.abort(reason),
  }).catch((thrown: unknown) => thrown);
  t.is(error, reason);
});

test('a layer without data: only msq', async (t) => {
  const { weight, outFeatures, inFeatures } = layer;
  const bare = { weight, outFeatures, inFeatures };
  const { runs } = await compareMethods(bare, { methods: ['msq'], bits: [2] });
  t.deepEqual(runs[0]!.error, { own: noErrors, againstFloat: null, ...noErrors });
  t.deepEqual(runs[0]!.measured.own, { calibration: 0, holdout: 0 });
  t.true(runs[0]!.layers[0]!.error.weight > 0);
});
