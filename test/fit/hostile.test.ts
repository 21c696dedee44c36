import test from 'ava';
import { preprocess, quantizeLayer, type QuantizeOptions, type VertexqError } from '../../lib/index';
import { gramOf, normals, outputNorm, relativeError } from './data';
import { fails, inFeatures, layerOf, outFeatures } from './failing';

function withValue<Values extends Float32Array | Float64Array>(
  values: Values,
  index: number,
  value: number,
): Values {
  values[index] = value;
  return values;
}

test('NaN and infinities are named, in weights and activations', async (t) => {
  for (const [value, is] of [
    [NaN, 'NaN'],
    [Infinity, 'infinite'],
    [-Infinity, 'infinite'],
  ] as const)
    for (const Floats of [Float32Array, Float64Array]) {
      const code = 'ERR_VERTEXQ_NOT_FINITE';
      const weight = withValue(Floats.from(normals(36, 1)), 2 * inFeatures + 5, value);
      await fails(t, layerOf({ weight }), {}, { code, message: RegExp(`neuron 2, input 5 is ${is}`) });
      await t.throwsAsync(quantizeLayer({ weight, inFeatures, outFeatures }), {
        message: RegExp(`neuron 2, input 5 is ${is}`),
      });
      const activations = withValue(Floats.from(normals(36, 1)), inFeatures + 11, value);
      const message = RegExp(`sample 1, input 11 is ${is}`);
      await fails(t, layerOf({ activations }), {}, { code, message });
      await t.throwsAsync(quantizeLayer(layerOf({ holdout: activations })), { message });
    }
});

test('weights of which those of one sign are next to nothing', async (t) => {
  for (const [many, few] of [
    [-1, 1e-40],
    [1, -1e-40],
    [-1e-8, 3e-25],
  ] as const)
    for (const method of ['vertex', 'gptq', 'msq'] as const) {
      const weight = Float32Array.from({ length: 36 }, (_, i) => (i % 5 === 0 ? few : many * (1 + (i % 7))));
      const q = await quantizeLayer(layerOf({ weight }), {
        method,
        bits: 4,
        grid: 'asymmetric',
        groupSize: 6,
      });
      t.true(relativeError(weight, q.dequantize(), inFeatures) < 0.1, `${many} ${method}`);
    }
});

test('zero neurons, zero columns, constant rows and −0 are quantized', async (t) => {
  const zero = layerOf({ weight: new Float32Array(36).fill(-0) });
  for (const options of [
    {},
    { bits: 1 },
    { method: 'msq' },
    { method: 'gptq', bits: 2 },
    { method: 'gpfq' },
    { method: 'maly-saab', levels: 3, box: 'saturate' },
  ] as QuantizeOptions[]) {
    const q = await quantizeLayer(zero, options);
    t.true(q.dequantize().every((value) => value === 0));
    t.deepEqual(q.scales, new Float32Array(3));
    const own = { calibration: 0, holdout: null };
    t.deepEqual(q.report.error, { own, againstFloat: null, weight: 0, ...own });
  }
  // A column that the data never uses, and one that is always the same.
  const columns = normals(20 * inFeatures, 2).map((value, i) =>
    i % inFeatures === 3 ? 0 : i % inFeatures === 7 ? 2.5 : value,
  );
  for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const) {
    const layer = layerOf({ activations: columns });
    const q = await quantizeLayer(layer, { method });
    t.true(q.report.error.calibration! < 0.2 && q.report.error.weight < 0.2);
    const real = relativeError(layer.weight, q.dequantize(), inFeatures, columns);
    t.true(Math.abs(q.report.error.calibration! - real) < 1e-6);
  }

  t.is((await preprocess(layerOf({ activations: columns }))).rank, inFeatures - 1);

  const walked = await preprocess(zero);
  t.true(walked.weight.every((value) => value === 0));
  t.is(walked.residual, 0);

  const noData = await preprocess(layerOf({ activations: new Float32Array(4 * inFeatures) }));
  t.is(noData.rank, 0);
  t.true(noData.free.every((free) => free.length === 0));
  t.is(noData.residual, 0);
  const unseen = await quantizeLayer(layerOf({ activations: new Float32Array(4 * inFeatures) }));
  t.is(unseen.report.error.calibration, null);

  const constant = await preprocess(layerOf({ activations: new Float64Array(5 * inFeatures).fill(3) }));
  t.is(constant.rank, 1);
  t.true(constant.residual! < 1e-12);
  const flat = await quantizeLayer(layerOf({ weight: new Float32Array(36).fill(0.1) }), { bits: 2 });
  t.true(flat.report.error.weight < 1e-6);
});

test('one sample, one input, prime widths, groups that do not divide', async (t) => {
  for (const n of [1, 2, 7, 13])
    for (const samples of [1, 2, 40])
      for (const groupSize of [1, 5, 'channel'] as const) {
        const activations = normals(samples * n, 5);
        const layer = { weight: normals(2 * n, 4), activations, outFeatures: 2, inFeatures: n };
        for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab'] as const) {
          const q = await quantizeLayer(layer, { groupSize, method });
          const real = relativeError(layer.weight, q.dequantize(), n, activations);
          t.true(
            Math.abs(q.report.error.calibration! - real) < 1e-6,
            `${method} ${n} ${samples} ${groupSize}`,
          );
        }
        const done = await preprocess(layer, { groupSize });
        t.true(done.residual! < 1e-12);
      }
});

test('tiny, huge and denormal numbers give the right result or say what overflows', async (t) => {
  const x = normals(5 * inFeatures, 2);
  const w = normals(outFeatures * inFeatures, 1);
  const scaled = (weightScale: number, dataScale: number) =>
    layerOf({ weight: w.map((v) => v * weightScale), activations: x.map((v) => v * dataScale) });
  // X̃ᵀX̃ has the squares of the activations; a factor of it does without.
  for (const [method, scales] of [
    ['maly-saab', [1e-310, 1e-200, 1e150, 1e200, 1e300]],
    ['vertex', [1e-150, 1e-30, 1e30, 1e150]],
    ['gpfq', [1e-150, 1e150]],
  ] as const) {
    const plain = await quantizeLayer(scaled(1, 1), { method });
    for (const scale of scales) {
      const q = await quantizeLayer(scaled(1, scale), { method });
      t.true(
        Math.abs(q.report.error.calibration! - plain.report.error.calibration!) < 1e-3,
        `${method}, activations × ${scale}`,
      );
    }
  }
  for (const scale of [1e160, 1e300])
    await t.throwsAsync(quantizeLayer(scaled(1, scale)), {
      code: 'ERR_VERTEXQ_NUMERIC',
      message: /the activations are too large/,
    });
  for (const weightScale of [1e-300, 1e-40, 1e38, 1e300])
    for (const box of ['saturate', 'cell'] as const) {
      const done = await preprocess(scaled(weightScale, 1), { box });
      t.true(done.residual! < 1e-12 && done.weight.every(Number.isFinite));
    }
  const denormal = await preprocess(scaled(1, 1e-320));
  t.true(denormal.weight.every(Number.isFinite) && denormal.bound.every(Number.isFinite));
  for (const method of ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const)
    await t.throwsAsync(quantizeLayer(scaled(1e300, 1), { method }), {
      code: 'ERR_VERTEXQ_SCALE_RANGE',
      message: /^(neuron 0: )?the weights are too large: .* float32/,
    });
  await t.throwsAsync(preprocess(scaled(1e300, 1e300)), {
    code: 'ERR_VERTEXQ_NUMERIC',
    message: /neuron 0.*too large/,
  });

  const largest = (most: number) => w.map((v) => (v > 0 ? most : -most));
  for (const grid of ['zero-free', 'integer', 'asymmetric'] as const) {
    const single = await quantizeLayer(layerOf({ weight: Float32Array.from(largest(2 ** 127)) }), { grid });
    t.true(single.report.error.weight < 1e-6 && single.dequantize().every(Number.isFinite));
    try {
      // A step that is rounded up may take a level beyond float32, which is refused.
      const weight = Float32Array.from(largest((2 - 2 ** -23) * 2 ** 127));
      const most = await quantizeLayer(layerOf({ weight }), { grid });
      t.true(most.report.error.weight < 1e-6 && most.dequantize().every(Number.isFinite));
    } catch (error) {
      t.is((error as VertexqError).code, 'ERR_VERTEXQ_SCALE_RANGE');
    }
    try {
      const done = await preprocess(layerOf({ weight: largest(Number.MAX_VALUE), activations: x }), { grid });
      t.true(done.weight.every(Number.isFinite) && done.residual! < 1e-12);
    } catch (error) {
      t.regex((error as VertexqError).code, /ERR_VERTEXQ_(SCALE_RANGE|NUMERIC)/);
    }
  }
});

test('Gram matrices: rank-deficient is fine; asymmetric, indefinite and NaN are refused', async (t) => {
  const code = 'ERR_VERTEXQ_GRAM';
  const activations = normals(4 * inFeatures, 3);
  const gram = gramOf(activations, inFeatures);
  const fromGram = (values: Float64Array) => ({
    weight: normals(36, 1),
    outFeatures,
    inFeatures,
    gram: values,
  });
  const done = await preprocess(fromGram(gram));
  t.is(done.rank, 4);
  const [before, after] = [normals(36, 1).subarray(0, inFeatures), done.weight.subarray(0, inFeatures)];
  t.true(outputNorm(activations, before, after) < 1e-6 * outputNorm(activations, before));
  t.is((await preprocess(fromGram(new Float64Array(144)))).rank, 0);
  await fails(t, fromGram(withValue(gram.slice(), 5, NaN)), {}, { code, message: /NaN or an infinity/ });
  await fails(t, fromGram(withValue(gram.slice(), 5, Infinity)), {}, { code, message: /NaN or an infinity/ });
  await fails(t, fromGram(withValue(gram.slice(), 5, 100)), {}, { code, message: /not symmetric: entries/ });
  const indefinite = fromGram(gram.map((value) => -value));
  await fails(
    t,
    indefinite,
    {},
    { code, message: /not positive semidefinite: it has an eigenvalue below -/ },
  );
  await fails(
    t,
    { ...fromGram(gram), activations },
    {},
    { type: TypeError, message: /"activations" or "gram", not both/ },
  );
  const narrow = fromGram(gram.subarray(0, inFeatures));
  await fails(t, narrow, {}, { type: RangeError, message: /12 × 12 = |12 × 12/ });
});
