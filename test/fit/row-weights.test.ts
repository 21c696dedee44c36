import test from 'ava';
import { type LayerInput, preprocess, quantizeLayer } from '../../lib/index';
import { LayerRows } from '../../lib/fit/layer-rows';
import { settingsOf } from '../../lib/fit/quantize-layer';
import { quantizeWeights } from '../../lib/fit/quantize-weights';
import { methodNames, traitsOf } from '../../lib/methods';
import { correlated, normals, random } from './data';

// Rows that count for more than others, in every method.

const [outFeatures, inFeatures, samples] = [6, 24, 300];

function layerOf(seed: number, heldOut = 60) {
  const rows = Float32Array.from(correlated(samples, inFeatures, seed, 5));
  const holdout = Float32Array.from(correlated(heldOut, inFeatures, seed + 1, 5));
  const next = random(seed + 2);
  const weights = (count: number) =>
    Float32Array.from({ length: count }, () => (next() < 0.2 ? 0 : -Math.log(1 - next())));
  return {
    layer: { weight: normals(outFeatures * inFeatures, seed + 3), outFeatures, inFeatures },
    ...{ rows, holdout, rowWeights: weights(samples), holdoutWeights: weights(heldOut) },
  };
}

/** Each row times the square root of its weight: what weighted sums are, as one writes it. */
function scaled(rows: Float32Array, weights: Float32Array): Float32Array {
  return rows.map((value, i) => value * Math.sqrt(weights[Math.floor(i / inFeatures)]!));
}

const bits = 3;

test('adding rows with weights is adding rows that were scaled by their square roots, in every method', async (t) => {
  const { layer, rows, holdout, rowWeights, holdoutWeights } = layerOf(1);
  const others = { rows: rows.map((x, i) => x + 0.1 * holdout[i % holdout.length]!), holdout };
  for (const method of methodNames)
    for (const aims of traitsOf(method).correctsErrors ? [false, true] : [false]) {
      const input = (of: (x: Float32Array, w: Float32Array) => Float32Array): LayerInput => ({
        ...layer,
        ...{ activations: of(rows, rowWeights), holdout: of(holdout, holdoutWeights) },
        ...(aims && {
          targetActivations: of(others.rows, rowWeights),
          targetHoldout: of(others.holdout, holdoutWeights),
        }),
      });
      const weighted = await quantizeLayer(
        { ...input((x) => x), rowWeights, holdoutWeights },
        { method, bits },
      );
      const before = await quantizeLayer(input(scaled), { method, bits });
      t.deepEqual(weighted.codes, before.codes, method);
      t.deepEqual(weighted.scales, before.scales, method);
      const { error, weighted: under, samples: count } = weighted.report;
      t.is(under!.calibration, before.report.error.calibration);
      t.is(under!.holdout, before.report.error.holdout);
      t.is(count, samples);
      t.is(error.calibration, null);
      // Without weights the held-out rows are as they are.
      const plain = await quantizeLayer({ ...input((x) => x), rowWeights }, { method, bits });
      t.is(plain.report.weighted!.holdout, null);
      t.not(error.holdout, under!.holdout);
    }
});

test('weights that are all 1 change no byte, and rows of weight 0 might as well not be there', async (t) => {
  const { layer, rows, holdout, rowWeights } = layerOf(7);
  const ones = new Float32Array(samples).fill(1);
  for (const method of ['vertex', 'gptq', 'maly-saab'] as const) {
    const plain = await quantizeLayer({ ...layer, activations: rows, holdout }, { method, bits });
    const same = await quantizeLayer(
      { ...layer, activations: rows, holdout, rowWeights: ones },
      { method, bits },
    );
    t.deepEqual(same.codes, plain.codes);
    t.deepEqual(same.scales, plain.scales);
    t.is(plain.report.weighted, null);
    t.is(same.report.error.holdout, plain.report.error.holdout);
    t.deepEqual(same.report.weighted, {
      ...{ calibration: plain.report.error.calibration, holdout: null, effectiveRows: samples },
    });
  }
  const kept = rowWeights.map((weight) => (weight > 0 ? 1 : 0));
  const some = rows.filter((_, i) => kept[Math.floor(i / inFeatures)]! > 0);
  const zeroed = await quantizeLayer(
    { ...layer, activations: rows, rowWeights: kept },
    { method: 'gptq', bits },
  );
  const left = await quantizeLayer({ ...layer, activations: some }, { method: 'gptq', bits });
  t.deepEqual(zeroed.codes, left.codes);
  t.is(zeroed.report.weighted!.effectiveRows, some.length / inFeatures);
});

test('a weighted fit is better where rows have weight, and the bytes do not depend on the threads', async (t) => {
  const { layer, rows, rowWeights } = layerOf(13);
  const heavy = rowWeights.map((weight) => weight ** 4);
  const given = { ...layer, activations: rows };
  const options = { method: 'vertex', bits: 2 } as const;
  const [one, three] = await Promise.all(
    [1, 3].map((threads) => quantizeLayer({ ...given, rowWeights: heavy }, { ...options, threads })),
  );
  t.deepEqual(one!.codes, three!.codes);
  const plain = await quantizeLayer(given, options);
  const errorOf = (values: Float32Array) => {
    let error = 0;
    for (let row = 0; row < samples; row++)
      for (let k = 0; k < outFeatures; k++) {
        let own = 0;
        for (let i = 0; i < inFeatures; i++)
          own +=
            rows[row * inFeatures + i]! * (values[k * inFeatures + i]! - layer.weight[k * inFeatures + i]!);
        error += heavy[row]! * own ** 2;
      }
    return error;
  };
  t.true(errorOf(one!.dequantize()) < errorOf(plain.dequantize()));
  t.true(one!.report.weighted!.effectiveRows < samples / 2);
});

test('a convolution takes a weight for each output position, whatever its padding and stride', async (t) => {
  const [channels, height, width] = [2, 7, 6];
  const values = Float32Array.from(normals(3 * channels * height * width, 21));
  const tensor = { values, shape: [3, channels, height, width], kernel: [3, 3], strides: [2, 1] };
  const geometry = { ...tensor, dilations: [1, 1], pads: [1, 0, 1, 2] };
  const positions = 3 * 4 * 6;
  // The position alone counts: the fit sees one patch and nothing else.
  for (const position of [0, 17, 40, positions - 1]) {
    const weights = new Float32Array(positions);
    weights[position] = 4;
    const [own, all] = [LayerRows.of(18, 'gram'), LayerRows.of(18, 'rows')];
    for (const to of [own, all]) await to.addPatches({ ...geometry, weights });
    t.is(own.effectiveRows, 1);
    const [image, at] = [Math.floor(position / 24), position % 24];
    const patch = new Float32Array(18);
    for (let k = 0; k < 18; k++) {
      const [channel, row, column] = [Math.floor(k / 9), Math.floor((k % 9) / 3), k % 3];
      const [y, x] = [2 * Math.floor(at / 6) + row - 1, (at % 6) + column];
      if (y >= 0 && y < height && x < width)
        patch[k] = values[((image * channels + channel) * height + y) * width + x]!;
    }
    const weight = normals(18, 23);
    const fit = { weight, outFeatures: 1, inFeatures: 18 };
    const settings = settingsOf({ ...fit, activations: patch }, { method: 'gptq', bits });
    const got = await quantizeWeights(
      { ...fit, name: 'layer', kind: 'Conv', calibration: own, holdout: null },
      settings,
      {},
    );
    const wanted = await quantizeLayer({ ...fit, activations: patch }, { method: 'gptq', bits });
    t.deepEqual(got.codes, wanted.codes);
  }
});

test('weights that are none are refused with their rows, and those without rows', async (t) => {
  const { layer, rows, holdout, rowWeights } = layerOf(31);
  const given = { ...layer, activations: rows };
  for (const [bad, message] of [
    [-1, /the weight of row 3 is -1/],
    [NaN, /the weight of row 3 is NaN/],
    [Infinity, /the weight of row 3 is inf/],
  ] as const) {
    const weights = rowWeights.slice();
    weights[3] = bad;
    await t.throwsAsync(quantizeLayer({ ...given, rowWeights: weights }), {
      ...{ code: 'ERR_VERTEXQ_CALIBRATION', message },
    });
  }
  const refused = (input: object, message: RegExp) =>
    t.throwsAsync(quantizeLayer({ ...layer, ...input }, { method: 'gptq' }), { message });
  await refused({ activations: rows, rowWeights: [1] }, /"rowWeights" to be a Float32Array, not/);
  await refused({ activations: rows, rowWeights: rowWeights.subarray(1) }, /each of the 300 rows .* not 299/);
  await refused({ rowWeights }, /"rowWeights" needs "activations"/);
  await refused(
    { activations: rows, rowWeights, holdoutWeights: rowWeights },
    /"holdoutWeights" needs "holdout"/,
  );
  await refused(
    { activations: rows, holdout, holdoutWeights: rowWeights.subarray(0, 60) },
    /"holdoutWeights" needs "rowWeights"/,
  );
  const walked = await preprocess({ ...given, rowWeights: new Float32Array(samples).fill(1) });
  t.deepEqual(walked.weight, (await preprocess(given)).weight);
});
