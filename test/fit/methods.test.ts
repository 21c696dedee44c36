import test from 'ava';
import fc from 'fast-check';
import { type Grid, quantizeLayer, type Method, type QuantizeOptions } from '../../lib/index';
import { correlated, gramOf, layerOf, outputNorm, relativeError, type Size } from './data';

// What vertex, gptq and gpfq promise, on small layers of correlated data.

const sizes = fc.record({
  outFeatures: fc.integer({ min: 1, max: 6 }),
  inFeatures: fc.oneof(fc.constantFrom(1, 2, 13, 37), fc.integer({ min: 3, max: 48 })),
  samples: fc.integer({ min: 1, max: 120 }),
  seed: fc.nat(),
});
const alphabets = fc.record({
  bits: fc.constantFrom(1, 2, 3, 4, 8),
  groupSize: fc.constantFrom<number | 'channel'>('channel', 4, 16, 1000),
});

/**
 * What the methods minimise: ‖X(W − Q)ᵀ‖² + Σλ_i‖column i of W − Q‖², relative to the same of W. λ_i is `damping` times the mean of the
 * squared norms of X's columns, and the whole of that mean for inputs that are always 0, which are not in it.
 */
function dampedError(layer: ReturnType<typeof layerOf>, values: Float32Array, damping: number): number {
  const { weight, activations, inFeatures: n } = layer;
  const squares = new Float64Array(n);
  for (const [k, x] of activations.entries()) squares[k % n]! += x * x;
  const live = squares.filter((square) => square > 0).length;
  const mean = live === 0 ? 1 : squares.reduce((sum, square) => sum + square / live, 0);
  const objective = (v: Float64Array) => {
    let sum = 0;
    for (let first = 0; first < v.length; first += n)
      sum += outputNorm(activations, v.subarray(first, first + n)) ** 2;
    for (const [k, x] of v.entries()) sum += (squares[k % n] === 0 ? mean : damping * mean) * x * x;
    return sum;
  };
  const error = objective(Float64Array.from(weight, (w, i) => w - values[i]!));
  return error === 0 ? 0 : Math.sqrt(error / objective(Float64Array.from(weight)));
}

/** What can be wrong with a layer's data and weights. */
const spoilers: Record<string, (layer: ReturnType<typeof layerOf>) => void> = {
  nothing: () => {},
  'duplicate columns': ({ activations: x, inFeatures: n }) => {
    for (const i of x.keys()) if (i % n >= n / 2) x[i] = x[i - Math.floor(n / 2)]!;
  },
  'constant columns': ({ activations: x, inFeatures: n }) => {
    for (const i of x.keys()) if ((i % n) % 3 === 0) x[i] = 1 + ((i % n) % 2);
  },
  'dead columns': ({ activations: x, inFeatures: n }) => {
    for (const i of x.keys()) if ((i % n) % 3 === 0) x[i] = 0;
  },
  'no data': ({ activations: x }) => void x.fill(0),
  'an outlier weight': ({ weight: w }) => void (w[Math.floor(w.length / 3)] = 1e4),
  'an outlier activation': ({ activations: x }) => void (x[Math.floor(x.length / 3)] = -1e5),
  'rank 1': ({ activations: x, inFeatures: n }) => {
    for (const i of x.keys()) x[i] = x[i % n]! * (1 + Math.floor(i / n));
  },
  'condition 1e12': ({ activations: x, inFeatures: n }) => {
    for (const i of x.keys()) x[i]! *= 10 ** (((-12 * i) % n) / n);
  },
  'weights on levels': ({ weight: w }) => {
    for (const i of w.keys()) w[i] = (i % 3) - 1;
  },
  'equal weights': ({ weight: w }) => void w.fill(0.3),
  'a neuron of zeros': ({ weight: w, inFeatures: n }) => void w.fill(0, 0, n),
  'tiny and huge': ({ weight: w, activations: x }) => {
    for (const i of w.keys()) w[i]! *= 1e-30;
    for (const i of x.keys()) x[i]! *= 1e15;
  },
};
const spoiled = fc
  .tuple(sizes, fc.constantFrom(...Object.keys(spoilers)))
  .map(([size, kind]) => ({ ...size, kind }));

function spoiledLayer({ kind, ...size }: Size & { kind: string }) {
  const layer = layerOf(size);
  spoilers[kind]!(layer);
  return layer;
}

test('with the same scales vertex has no larger error than gptq, and gptq none larger than msq', async (t) => {
  await fc.assert(
    fc.asyncProperty(spoiled, alphabets, async (size, alphabet) => {
      const layer = spoiledLayer(size);
      const damping = 0.01;
      const errorOf = async (method: Method) => {
        const options = {
          ...alphabet,
          method,
          scale: 'max',
          ...(method === 'msq' ? {} : { damping }),
        } as const;
        const q = await quantizeLayer(layer, options);
        return dampedError(layer, q.dequantize(), damping);
      };
      const [vertex, gptq, msq] = [await errorOf('vertex'), await errorOf('gptq'), await errorOf('msq')];
      const what = JSON.stringify({ size, alphabet, vertex, gptq, msq });
      t.true(gptq <= msq * (1 + 1e-5) + 1e-6, what);
      t.true(vertex <= gptq * (1 + 1e-5) + 1e-6, what);
    }),
    { numRuns: 600 },
  );
});

test('with searched scales too, where msq has those of the largest weights', async (t) => {
  await fc.assert(
    fc.asyncProperty(spoiled, alphabets, async (size, alphabet) => {
      const layer = spoiledLayer(size);
      const damping = 0.01;
      const errorOf = async (options: QuantizeOptions) =>
        dampedError(layer, (await quantizeLayer(layer, { ...alphabet, ...options })).dequantize(), damping);
      const vertex = await errorOf({ method: 'vertex', damping });
      const gptq = await errorOf({ method: 'gptq', damping });
      const max = await errorOf({ method: 'msq', scale: 'max' });
      const what = JSON.stringify({ size, alphabet, vertex, gptq, max });
      t.true(gptq <= max * (1 + 1e-5) + 1e-6, what);
      t.true(vertex <= gptq * (1 + 1e-5) + 1e-6, what);
    }),
    { numRuns: 600 },
  );
});

test('so it is with the reported calibration error, where there is no damping and data enough', async (t) => {
  await fc.assert(
    fc.asyncProperty(sizes, alphabets, async (size, alphabet) => {
      const layer = layerOf({ ...size, samples: 3 * size.inFeatures + size.samples });
      const errorOf = async (method: Method) => {
        const options = {
          ...alphabet,
          method,
          scale: 'max',
          ...(method === 'msq' ? {} : { damping: 0 }),
        } as const;
        return (await quantizeLayer(layer, options)).report.error.calibration!;
      };
      const [vertex, gptq, msq] = [await errorOf('vertex'), await errorOf('gptq'), await errorOf('msq')];
      const what = JSON.stringify({ size, alphabet, vertex, gptq, msq });
      t.true(gptq <= msq * (1 + 1e-5) + 1e-6, what);
      t.true(vertex <= gptq * (1 + 1e-5) + 1e-6, what);
    }),
    { numRuns: 100 },
  );
});

test('vertex without damping takes fewer samples than inputs', async (t) => {
  for (let seed = 0; seed < 10; seed++) {
    const layer = layerOf({ outFeatures: 3, inFeatures: 24, samples: 8, seed });
    await t.notThrowsAsync(quantizeLayer(layer, { bits: 2, scale: 'max', damping: 0 }));
  }
});

test('codes, values and reported errors agree with the arrays', async (t) => {
  const methods = fc.constantFrom<Method>('vertex', 'gptq', 'gpfq');
  await fc.assert(
    fc.asyncProperty(sizes, alphabets, methods, async (size, alphabet, method) => {
      const layer = layerOf(size);
      const holdout = correlated(9, size.inFeatures, size.seed + 2);
      const q = await quantizeLayer({ ...layer, holdout }, { ...alphabet, method });
      const values = q.dequantize();
      const { error } = q.report;
      // Sums of squares in float32 do not tell errors below 1e-4 of the outputs.
      const near = (a: number | null, b: number) => Math.abs(a! ** 2 - b ** 2) <= 1e-4 * b ** 2 + 1e-8;
      const check = (got: number | null, x?: Float32Array | Float64Array) => {
        const wanted = relativeError(layer.weight, values, size.inFeatures, x);
        t.true(near(got, wanted), `${JSON.stringify({ size, alphabet, method })}: ${got}, not ${wanted}`);
      };
      check(error.calibration, layer.activations);
      check(error.holdout, holdout);
      check(error.weight);
      t.is(q.report.bound, null);
      t.is(q.report.samples, size.samples);
    }),
    { numRuns: 100 },
  );
});

test('more effort is never a larger error, and says how many passes it was', async (t) => {
  for (const seed of [1, 2, 3]) {
    const layer = layerOf({ outFeatures: 12, inFeatures: 64, samples: 200, seed });
    let last = Infinity;
    for (const effort of [0, 1, 2, 5, 12]) {
      const { report } = await quantizeLayer(layer, { bits: 2, effort, scale: 'max', damping: 0 });
      t.true(report.passes! <= effort);
      t.true(report.error.calibration! <= last * (1 + 1e-9), `effort ${effort}`);
      last = report.error.calibration!;
    }
    const none = await quantizeLayer(layer, { bits: 2, effort: 0 });
    t.is(none.report.passes, 0);
    t.deepEqual(
      (await quantizeLayer(layer, { bits: 2 })).codes,
      (await quantizeLayer(layer, { bits: 2, effort: 'auto' })).codes,
    );
  }
});

test('the report says what only some methods know', async (t) => {
  const layer = layerOf({ outFeatures: 16, inFeatures: 64, samples: 300, seed: 5 });
  const reports = new Map<Method, Awaited<ReturnType<typeof quantizeLayer>>['report']>();
  for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const)
    reports.set(method, (await quantizeLayer(layer, { method })).report);
  const { vertex, gptq, gpfq, msq } = Object.fromEntries(reports);
  t.is(vertex!.rank, 48);
  t.true(vertex!.walked! >= 0 && vertex!.walked! <= 1 && vertex!.passes! >= 0);
  for (const report of [vertex!, gptq!]) t.true(report.damping! > 0);
  t.is((await quantizeLayer(layer, { damping: 0.5 })).report.damping, 0.5);
  for (const report of [gptq!, gpfq!, msq!]) t.deepEqual([report.passes, report.walked], [null, null]);
  t.deepEqual([gpfq!.damping, msq!.damping, msq!.sphereGapDb], [null, null, null]);
  for (const report of [vertex!, gptq!, gpfq!]) t.is(typeof report.sphereGapDb, 'number');
  t.true(vertex!.sphereGapDb! <= gptq!.sphereGapDb!);
  for (const report of reports.values()) t.false(report.errorCorrection);
  t.is((await quantizeLayer(layer, { rank: 0.25 })).report.rank, 16);
  t.is((await quantizeLayer(layer, { rank: 10 })).report.rank, 10);
});

test('vertex at its defaults has less held-out error than gptq, and that far less than msq', async (t) => {
  const size = { outFeatures: 24, inFeatures: 96, samples: 1000, seed: 7 };
  const holdout = correlated(300, 96, 50, size.seed + 3);
  const layer = { ...layerOf(size), holdout };
  const heldOut = async (method: Method) =>
    (await quantizeLayer(layer, { method, bits: 3 })).report.error.holdout!;
  const [vertex, gptq, msq] = [await heldOut('vertex'), await heldOut('gptq'), await heldOut('msq')];
  t.log({ vertex, gptq, msq });
  t.true(vertex < gptq && gptq < 0.8 * msq);
});

test('every method fits full-range codes: less error than the same bits give on the integer grid', async (t) => {
  const layer = layerOf({ outFeatures: 40, inFeatures: 48, samples: 400, seed: 11 });
  for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const)
    for (const bits of [2, 3] as const) {
      const errorOf = async (grid: Grid) => {
        const { codes, zeroPoints, report } = await quantizeLayer(layer, {
          method,
          bits,
          grid,
          groupSize: 16,
        });
        t.is(zeroPoints, null);
        if (grid === 'full-range')
          t.true(codes.includes(-(2 ** (bits - 1))) && !codes.includes(2 ** (bits - 1)));
        return report.error.calibration!;
      };
      const [full, integer] = [await errorOf('full-range'), await errorOf('integer')];
      t.log(method, bits, full.toFixed(4), integer.toFixed(4));
      t.true(full < integer);
    }
});

test('on a tiny layer vertex, with full-range codes, is near the best of all there are', async (t) => {
  let [found, best] = [0, 0];
  for (let seed = 0; seed < 12; seed++) {
    const [outFeatures, inFeatures] = [3, 5];
    const layer = layerOf({ outFeatures, inFeatures, samples: 40, seed: 30 + seed });
    const { codes, scales } = await quantizeLayer(layer, { bits: 2, grid: 'full-range', effort: 8 });
    const gram = gramOf(Float64Array.from(layer.activations), inFeatures);
    for (let k = 0; k < outFeatures; k++) {
      const errorOf = (codeOf: (i: number) => number) => {
        const off = Array.from(
          { length: inFeatures },
          (_, i) => codeOf(i) * scales[k]! - layer.weight[k * inFeatures + i]!,
        );
        return off.reduce(
          (sum, a, i) => sum + off.reduce((row, b, j) => row + a * b * gram[i * inFeatures + j]!, 0),
          0,
        );
      };
      found += errorOf((i) => codes[k * inFeatures + i]!);
      let least = Infinity;
      for (let all = 0; all < 4 ** inFeatures; all++)
        least = Math.min(
          least,
          errorOf((i) => (Math.floor(all / 4 ** i) % 4) - 2),
        );
      best += least;
    }
  }
  t.true(found >= best * (1 - 1e-6) && found <= 1.02 * best, `${found} ${best}`);
});

test('four levels are zero-free without a grid given, more are asymmetric', async (t) => {
  const layer = layerOf({ outFeatures: 3, inFeatures: 16, samples: 50, seed: 9 });
  const gridOf = async (options: QuantizeOptions) => {
    const { zeroPoints } = await quantizeLayer(layer, options);
    return zeroPoints === null ? 'integer' : Number.isInteger(zeroPoints[0]) ? 'asymmetric' : 'zero-free';
  };
  t.is(await gridOf({ bits: 2 }), 'zero-free');
  t.is(await gridOf({ levels: 4 }), 'zero-free');
  t.is(await gridOf({ bits: 1 }), 'zero-free');
  t.is(await gridOf({ bits: 2, grid: 'asymmetric' }), 'asymmetric');
  t.is(await gridOf({ bits: 3 }), 'asymmetric');
  t.is(await gridOf({ levels: 3 }), 'integer');
});

test('an abort during the fit rejects with its reason', async (t) => {
  const layer = layerOf({ outFeatures: 512, inFeatures: 512, samples: 600, seed: 71 });
  for (const [method, delay] of [
    ['vertex', 30],
    ['vertex', 300],
    ['gptq', 60],
    ['gpfq', 20],
  ] as const) {
    const stop = new AbortController();
    const reason = { method, delay };
    let aborted = Infinity;
    setTimeout(() => {
      aborted = performance.now();
      stop.abort(reason);
    }, delay);
    const options = { method, signal: stop.signal, ...(method === 'vertex' ? { effort: 50 } : {}) };
    const error: unknown = await quantizeLayer(layer, options).then(
      () => 'finished',
      (thrown: unknown) => thrown,
    );
    if (error === 'finished') t.log(`${method} was done before ${delay} ms`);
    else t.is(error, reason);
    t.true(performance.now() - aborted < 500);
  }
});
