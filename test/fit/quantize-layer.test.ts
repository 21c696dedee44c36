import test from 'ava';
import fc from 'fast-check';
import {
  quantizeLayer,
  type Grid,
  type LayerInput,
  type QuantizedLayer,
  type QuantizeOptions,
} from '../../lib/index';
import { gramOf, normals, product, relativeError } from './data';

function layerOf(outFeatures: number, inFeatures: number, samples: number, seed: number) {
  return {
    weight: Float32Array.from(normals(outFeatures * inFeatures, seed)),
    activations: Float32Array.from(normals(samples * inFeatures, seed + 1)),
    outFeatures,
    inFeatures,
  };
}

/** (code − zero point)·scale, in float32. */
function valuesOf(q: QuantizedLayer): Float32Array {
  const groups = Math.ceil(q.inFeatures / q.groupSize);
  return Float32Array.from(q.codes, (code, k) => {
    const group = Math.floor(k / q.inFeatures) * groups + Math.floor((k % q.inFeatures) / q.groupSize);
    return (code - (q.zeroPoints?.[group] ?? 0)) * q.scales[group]!;
  });
}

function codeRange(grid: Grid, levels: number): [number, number] {
  if (grid === 'integer') return [-(levels - 1) / 2, (levels - 1) / 2];
  if (grid === 'zero-free' || grid === 'full-range') return [-levels / 2, levels / 2 - 1];
  const least = -(2 ** (Math.ceil(Math.log2(levels)) - 1));
  return [least, least + levels - 1];
}

const near = (a: number | null, b: number): boolean =>
  a !== null && Math.abs(a - b) <= 2e-6 * Math.abs(b) + 1e-7;

const choices = fc.constantFrom<QuantizeOptions & { grid: Grid }>(
  { bits: 1, grid: 'zero-free' },
  { bits: 2, grid: 'zero-free' },
  { bits: 2, grid: 'integer' },
  { levels: 3, grid: 'integer' },
  { bits: 4, grid: 'asymmetric' },
  { levels: 3, grid: 'asymmetric' },
  { levels: 5, grid: 'asymmetric' },
  { bits: 8, grid: 'asymmetric' },
  { bits: 8, grid: 'integer' },
  { bits: 8, grid: 'zero-free' },
  { bits: 2, grid: 'full-range' },
  { levels: 6, grid: 'full-range' },
  { bits: 8, grid: 'full-range' },
);
const methods = fc.constantFrom<QuantizeOptions>(
  { method: 'maly-saab' },
  { method: 'maly-saab', rank: 'auto' },
  { method: 'maly-saab', box: 'saturate', rank: 0.3 },
  { method: 'maly-saab', rank: 3 },
  { method: 'msq' },
  { method: 'msq', scale: 'max' },
);

test('codes, values and reported errors agree with the arrays, for all grids and methods', async (t) => {
  const shape = fc.record({
    outFeatures: fc.integer({ min: 1, max: 5 }),
    inFeatures: fc.oneof(fc.constantFrom(1, 2, 13, 37), fc.integer({ min: 3, max: 40 })),
    samples: fc.integer({ min: 1, max: 60 }),
    seed: fc.nat(),
    groupSize: fc.constantFrom<number | 'channel'>('channel', 1, 4, 7, 16, 1000),
  });
  await fc.assert(
    fc.asyncProperty(shape, choices, methods, async (size, alphabet, method) => {
      const { outFeatures, inFeatures, samples, seed, groupSize } = size;
      const layer = layerOf(outFeatures, inFeatures, samples, seed);
      const holdout = normals(9 * inFeatures, seed + 2);
      const q = await quantizeLayer({ ...layer, holdout }, { ...alphabet, ...method, groupSize });
      const [least, most] = codeRange(alphabet.grid, q.levels);
      t.true(q.codes.every((code) => code >= least && code <= most));
      t.true(q.levels <= 2 ** q.bits);
      const values = valuesOf(q);
      t.deepEqual(q.dequantize(), values);
      t.is(q.scales.length, outFeatures * Math.ceil(inFeatures / q.groupSize));
      t.is(q.groupSize, Math.min(groupSize === 'channel' ? inFeatures : groupSize, inFeatures));
      const { error, bound, sqnrDb } = q.report;
      t.true(near(error.calibration, relativeError(layer.weight, values, inFeatures, layer.activations)));
      t.true(near(error.holdout, relativeError(layer.weight, values, inFeatures, holdout)));
      t.true(near(error.weight, relativeError(layer.weight, values, inFeatures)));
      if (error.holdout) t.true(Math.abs(sqnrDb! + 20 * Math.log10(error.holdout)) < 1e-9);
      if (method.method === 'msq') t.is(bound, null);
      else t.true(error.calibration! <= bound! + 1e-7);
      t.is(q.report.samples, samples);
      t.deepEqual(q.report.shape, [outFeatures, inFeatures]);
    }),
    { numRuns: 400 },
  );
});

test('msq "max" covers every weight and rounds to nearest; "search" has no larger weight error', async (t) => {
  const { weight, outFeatures, inFeatures } = layerOf(6, 50, 1, 7);
  for (const bits of [2, 3, 4] as const) {
    const max = await quantizeLayer(
      { weight, outFeatures, inFeatures },
      { bits, scale: 'max', grid: 'integer' },
    );
    const search = await quantizeLayer({ weight, outFeatures, inFeatures }, { bits, grid: 'integer' });
    t.is(max.report.method, 'msq');
    const values = max.dequantize();
    for (const [k, value] of values.entries()) {
      const step = max.scales[Math.floor(k / inFeatures)]!;
      t.true(Math.abs(value - weight[k]!) <= step * 0.500001);
    }
    t.true(search.report.error.weight < max.report.error.weight);
    t.deepEqual(
      [max.report.error.calibration, max.report.error.holdout, max.report.samples],
      [null, null, 0],
    );
  }
});

test('by hand: ternary msq with the largest weight as scale', async (t) => {
  const weight = Float32Array.of(0.5, -1, 0.25, 0.75, 0, 0, 0, 0);
  const q = await quantizeLayer(
    { weight, outFeatures: 2, inFeatures: 4 },
    { method: 'msq', levels: 3, scale: 'max' },
  );
  // ½ is as near to 0 as to 1: the lower of the two.
  t.deepEqual([...q.codes], [0, -1, 0, 1, 0, 0, 0, 0]);
  t.deepEqual([...q.scales], [1, 0]);
  t.is(q.zeroPoints, null);
  t.is(q.bits, 2);
  t.true(near(q.report.error.weight, Math.sqrt((0.25 + 0.0625 + 0.0625) / (0.25 + 1 + 0.0625 + 0.5625))));
});

test('maly-saab has a lower calibration error than msq where samples are few', async (t) => {
  for (const alphabet of [
    { bits: 1 },
    { levels: 3 },
    { bits: 2, grid: 'asymmetric' },
    { bits: 4 },
  ] as const) {
    const layer = layerOf(16, 200, 20, 11);
    const walked = await quantizeLayer(layer, { ...alphabet, method: 'maly-saab', rank: 200 });
    const rounded = await quantizeLayer(layer, { ...alphabet, method: 'msq', scale: 'max' });
    t.true(walked.report.error.calibration! < 0.7 * rounded.report.error.calibration!);
    t.deepEqual(walked.scales, rounded.scales);
    t.is(walked.report.rank, 20);
    t.true(walked.report.freeEntries <= 20);
  }
});

test('rank: a whole number, a fraction, auto, 0', async (t) => {
  const layer = layerOf(4, 64, 40, 13);
  const rankOf = async (rank: number | 'auto') =>
    (await quantizeLayer(layer, { method: 'maly-saab', rank })).report.rank;
  t.is(await rankOf(10), 10);
  t.is(await rankOf(0.25), 16);
  t.is(await rankOf(0.999), 40);
  t.is(await rankOf(1), 1);
  t.is(await rankOf(1e6), 40);
  t.is(await rankOf(1e-9), 1);
  t.is(await rankOf(0), 0);
  t.true((await rankOf('auto')) <= 40);
  const none = await quantizeLayer(layer, { method: 'maly-saab', rank: 0, box: 'cell' });
  t.is(none.report.freeEntries, 0);
});

test('a Gram matrix gives nearly the error of its activations', async (t) => {
  const n = 48;
  const common = { weight: normals(8 * n, 1), outFeatures: 8, inFeatures: n };
  for (const samples of [10, 100]) {
    const activations = product(normals(samples * 6, 2), normals(6 * n, 3), samples, 6, n).map(
      (value, k) => value + 0.1 * Math.sin(k * k),
    );
    const gram = gramOf(activations, n);
    for (const options of [
      { method: 'maly-saab' },
      { method: 'msq' },
      { method: 'maly-saab', box: 'saturate', rank: 5 },
    ] as const) {
      const fromRows = (await quantizeLayer({ ...common, activations }, options)).report;
      const fromGram = (await quantizeLayer({ ...common, gram }, options)).report;
      const ratio = fromGram.error.calibration! / fromRows.error.calibration!;
      t.true(ratio > 0.9 && ratio < 1.1, `ratio ${ratio}`);
      t.deepEqual([fromGram.samples, fromRows.samples], [0, samples]);
    }
  }
});

test('the same bytes for 1, 2 and 7 threads, and again', async (t) => {
  const layer: LayerInput = { ...layerOf(150, 96, 300, 17), holdout: normals(96 * 20, 5) };
  for (const options of [
    { method: 'maly-saab' },
    { method: 'maly-saab', box: 'saturate', bits: 1 },
    { method: 'maly-saab', groupSize: 32, bits: 3 },
    { method: 'msq' },
  ] as const) {
    const results = [];
    for (const threads of [1, 2, 7, 1, 1000]) {
      const { codes, scales, zeroPoints, report } = await quantizeLayer(layer, { ...options, threads });
      results.push({ codes, scales, zeroPoints, report: { ...report, seconds: 0 } });
    }
    for (const result of results) t.deepEqual(result, results[0]);
  }
});

test('warns of few rows, and of a held-out error far above the calibration error', async (t) => {
  const few = layerOf(8, 100, 20, 19);
  const { warnings } = (
    await quantizeLayer({ ...few, holdout: normals(100 * 50, 4) }, { method: 'maly-saab', rank: 100 })
  ).report;
  t.is(warnings.length, 2);
  t.regex(warnings[0]!, /^20 calibration rows are few for 100 inputs.*200 rows or more/);
  t.regex(warnings[1]!, /held-out error is \d+\.\d times the calibration error/);
  const many = layerOf(8, 30, 400, 23);
  t.deepEqual((await quantizeLayer({ ...many, holdout: normals(30 * 100, 6) })).report.warnings, []);
  t.deepEqual((await quantizeLayer(few, { method: 'msq' })).report.warnings, []);
});
