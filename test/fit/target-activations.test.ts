import test from 'ava';
import { type LayerInput, quantizeLayer } from '../../lib/index';
import { correlated, gramOf, normals, product } from './data';

// Layers whose inputs have changed already: fitted to what the float layer gave (target activations), from rows or from Gram matrices.

/** ‖X̃Qᵀ − XWᵀ‖ / ‖XWᵀ‖, Frobenius. */
function errorAgainst(layer: LayerInput, values: Float32Array, seen: Float64Array, target: Float64Array) {
  const { weight, outFeatures, inFeatures: n } = layer;
  const rows = seen.length / n;
  let [error, signal] = [0, 0];
  for (let row = 0; row < rows; row++)
    for (let k = 0; k < outFeatures; k++) {
      let [got, wanted] = [0, 0];
      for (let i = 0; i < n; i++) {
        got += seen[row * n + i]! * values[k * n + i]!;
        wanted += target[row * n + i]! * weight[k * n + i]!;
      }
      error += (got - wanted) ** 2;
      signal += wanted ** 2;
    }
  return Math.sqrt(error / signal);
}

/** A layer whose input has already been changed by what came before. */
function shifted(seed: number, outFeatures = 10, n = 48, samples = 400) {
  const x = correlated(samples, n, seed, 77);
  const noise = normals(samples * n, seed + 1);
  // Partly noise, partly a distortion that a change of the weights can undo.
  const seen = x.map((value, i) => 0.85 * value + 0.15 * x[i - (i % n) + ((i + 1) % n)]! + 0.05 * noise[i]!);
  return { weight: normals(outFeatures * n, seed + 2), outFeatures, inFeatures: n, seen, x };
}

test('with target activations the error against the float outputs is lower than without', async (t) => {
  const { seen, x, ...layer } = shifted(21);
  const [heldSeen, heldX] = ((made) => [made.seen, made.x])(shifted(31));
  for (const method of ['vertex', 'gptq', 'gpfq'] as const) {
    const options = { method, bits: 3 } as const;
    const plain = await quantizeLayer({ ...layer, activations: seen, holdout: heldSeen }, options);
    const aimed = await quantizeLayer(
      { ...layer, activations: seen, targetActivations: x, holdout: heldSeen, targetHoldout: heldX },
      options,
    );
    t.true(aimed.report.errorCorrection && !plain.report.errorCorrection);
    const before = errorAgainst(layer, plain.dequantize(), seen, x);
    const after = errorAgainst(layer, aimed.dequantize(), seen, x);
    t.true(after < 0.9 * before, `${method}: ${after}, without ${before}`);
    const near = (a: number | null, b: number) => Math.abs(a! - b) <= 1e-6 * b;
    t.true(near(aimed.report.error.calibration, after), `${aimed.report.error.calibration} ${after}`);
    const held = errorAgainst(layer, aimed.dequantize(), heldSeen, heldX);
    t.true(near(aimed.report.error.holdout, held), `${aimed.report.error.holdout} ${held}`);
  }
});

test('target activations equal to the activations change nothing but rounding errors', async (t) => {
  const { seen, weight, outFeatures, inFeatures } = shifted(41);
  const layer = { weight, outFeatures, inFeatures };
  for (const method of ['vertex', 'gptq', 'gpfq'] as const) {
    const plain = await quantizeLayer({ ...layer, activations: seen }, { method });
    const aimed = await quantizeLayer(
      { ...layer, activations: seen, targetActivations: seen.slice() },
      { method },
    );
    const [a, b] = [plain.report.error.calibration!, aimed.report.error.calibration!];
    t.true(Math.abs(a - b) < 0.02 * a, `${method}: ${a} ${b}`);
  }
});

test('activations of other precision than their targets', async (t) => {
  const { seen, x, ...layer } = shifted(43);
  const single = await quantizeLayer({
    ...layer,
    activations: Float32Array.from(seen),
    targetActivations: Float64Array.from(Float32Array.from(x)),
  });
  const both = await quantizeLayer({
    ...layer,
    activations: Float64Array.from(Float32Array.from(seen)),
    targetActivations: Float64Array.from(Float32Array.from(x)),
  });
  t.deepEqual(single.codes, both.codes);
});

test('Gram matrices instead of rows', async (t) => {
  const { seen, x, ...layer } = shifted(51);
  const n = layer.inFeatures;
  const gram = gramOf(seen, n);
  const crossGram = product(transposedOf(seen, n), x, n, seen.length / n, n);
  for (const method of ['vertex', 'gptq', 'gpfq'] as const) {
    const [rows, grams] = [
      (await quantizeLayer({ ...layer, activations: seen }, { method })).report,
      (await quantizeLayer({ ...layer, gram }, { method })).report,
    ];
    t.is(grams.samples, 0);
    t.true(Math.abs(grams.error.calibration! / rows.error.calibration! - 1) < 0.02);
    // The held-out rows also choose how far errors are corrected.
    const held = { holdout: seen, targetHoldout: x };
    const aimed = await quantizeLayer({ ...layer, ...held, gram, crossGram }, { method });
    t.true(aimed.report.errorCorrection);
    const real = errorAgainst(layer, aimed.dequantize(), seen, x);
    t.true(Math.abs(aimed.report.error.holdout! - real) < 1e-6);
    const paired = await quantizeLayer(
      { ...layer, ...held, activations: seen, targetActivations: x },
      { method },
    );
    t.true(Math.abs(real / paired.report.error.calibration! - 1) < 0.02);
    // ‖XWᵀ‖ is not known, only what of it a layer that sees X̃ can reach.
    t.true(aimed.report.error.calibration! <= real * 1.05);
  }
});

function transposedOf(x: Float64Array, cols: number): Float64Array {
  const rows = x.length / cols;
  return Float64Array.from(x, (_, k) => x[(k % rows) * cols + Math.floor(k / rows)]!);
}

test('the same bytes for 1, 2 and 7 threads, and again', async (t) => {
  const { seen, x, ...layer } = shifted(61, 150, 72, 300);
  const plain = { ...layer, activations: seen, holdout: x };
  const aimed = { ...plain, targetActivations: x };
  for (const [input, options] of [
    [plain, {}],
    [plain, { bits: 2, groupSize: 24, effort: 3 }],
    [plain, { method: 'gptq', bits: 3 }],
    [plain, { method: 'gpfq' }],
    [aimed, { bits: 3, groupSize: 32 }],
    [aimed, { method: 'gptq', scale: 'max' }],
  ] as const) {
    const results = [];
    for (const threads of [1, 2, 7, 1]) {
      const { codes, scales, zeroPoints, report } = await quantizeLayer(input, { ...options, threads });
      results.push({ codes, scales, zeroPoints, report: { ...report, seconds: 0 } });
    }
    for (const result of results) t.deepEqual(result, results[0]);
  }
});

test('data that is too large is called what it is: targets, held-out data', async (t) => {
  const [n, rows] = [8, 40];
  const wave = (length: number, seed: number, factor = 1) =>
    normals(length, seed).map((value) => factor * value);
  const x = wave(n * rows, 1);
  const layer = { outFeatures: 4, inFeatures: n, weight: wave(4 * n, 2), activations: x };
  const held = { holdout: x, targetActivations: x, targetHoldout: x };
  for (const [given, message] of [
    [{ ...held, activations: wave(n * rows, 3, 1e300) }, /^the activations are too large/],
    [{ ...held, holdout: wave(n * rows, 3, 1e300) }, /^held-out data: the activations are too large/],
    [{ targetActivations: wave(n * rows, 3, 1e300) }, /^target activations: .* too large/],
    [
      { targetActivations: wave(n * rows, 3, 1e150) },
      /^the targets are too large: they ask for weights of up to [\d.]+e\+150/,
    ],
    [
      { ...held, targetHoldout: wave(n * rows, 3, 1e300) },
      /^held-out data: target activations: .* too large/,
    ],
    [{ ...held, holdout: x.with(19, NaN) }, /^held-out data: activation at sample 2, input 3 is NaN/],
    [{ ...held, targetHoldout: x.with(19, NaN) }, /^held-out data: target activation at sample 2, input 3/],
    [{ targetActivations: x.with(19, NaN) }, /^target activation at sample 2, input 3/],
  ] as [Partial<LayerInput>, RegExp][])
    for (const method of ['vertex', 'gptq', 'gpfq'] as const)
      t.regex((await t.throwsAsync(quantizeLayer({ ...layer, ...given }, { method }))).message, message);
});
