import test from 'ava';
import { layerErrors } from '../../lib/fit/layer-errors';
import { quantizeLayer, quantizeModel, type LayerInput, type Method } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { layerTable } from '../../lib/reports/table';
import { feed, files, float, network, random } from '../models/networks';
import { gramOf, normals, product, relativeError } from './data';

// Data that misleads, or tells nothing.

const fitted = ['vertex', 'gptq', 'gpfq'] as const;
const all: readonly Method[] = [...fitted, 'maly-saab', 'msq'];

/** Rows in a few directions, which `seed` decides, and a little noise. */
function rowsOf(samples: number, n: number, seed: number, directions: number): Float64Array {
  const noise = normals(samples * n, seed + 1);
  const mix = normals(directions * n, seed + 2);
  return product(normals(samples * directions, seed), mix, samples, directions, n).map(
    (value, i) => value + 0.1 * noise[i]!,
  );
}

/** Calibration rows that say nothing of the held-out ones. */
function misled(samples = 20, n = 64): LayerInput {
  return {
    weight: normals(8 * n, 1),
    outFeatures: 8,
    inFeatures: n,
    activations: rowsOf(samples, n, 10, 10),
    holdout: rowsOf(200, n, 20, 10),
  };
}

test('few rows of another distribution: vertex falls back to plain rounding and says so', async (t) => {
  const layer = misled();
  const options = { bits: 3, groupSize: 32 } as const;
  const plain = await quantizeLayer(layer, { ...options, method: 'msq' });
  for (const method of ['gptq', 'maly-saab'] as const) {
    const { report } = await quantizeLayer(layer, { ...options, method });
    t.true(report.error.holdout! > plain.report.error.holdout!, method);
    t.deepEqual([report.method, report.fellBackFrom], [method, null]);
    t.regex(report.warnings.join('\n'), /does not carry over to other data/);
  }
  const q = await quantizeLayer(layer, options);
  const { report } = q;
  t.deepEqual([report.method, report.fellBackFrom], ['msq', 'vertex']);
  t.deepEqual([report.passes, report.walked, report.damping, report.sphereGapDb], [null, null, null, null]);
  t.like(JSON.parse(JSON.stringify(report)), { method: 'msq', fellBackFrom: 'vertex' });
  t.deepEqual(q.codes, plain.codes);
  t.deepEqual([q.scales, q.zeroPoints], [plain.scales, plain.zeroPoints]);
  for (const of of ['calibration', 'holdout', 'weight'] as const)
    t.true(Math.abs(report.error[of]! / plain.report.error[of]! - 1) < 1e-6, of);
  t.is(report.warnings.length, 2);
  t.regex(report.warnings[0]!, /^20 calibration rows are few for 64 inputs/);
  const [, before, after] =
    /on held-out rows "vertex" has an error of ([\d.]+) %, plain rounding \("msq"\) ([\d.]+) %/.exec(
      report.warnings[1]!,
    )!;
  t.true(Number(before) > Number(after));
  t.true(Math.abs(Number(after) - 100 * report.error.holdout!) < 0.06);
});

test('the fall back is the same for all numbers of threads, and again', async (t) => {
  const results = [];
  for (const threads of [1, 2, 7, 1]) {
    const { codes, scales, zeroPoints, report } = await quantizeLayer(misled(), { bits: 2, threads });
    t.is(report.fellBackFrom, 'vertex');
    results.push({ codes, scales, zeroPoints, report: { ...report, seconds: 0 } });
  }
  for (const result of results) t.deepEqual(result, results[0]);
});

test('with the scale "max" it falls back to the scale "max"', async (t) => {
  const { codes, report } = await quantizeLayer(misled(), { scale: 'max', bits: 3 });
  t.is(report.fellBackFrom, 'vertex');
  t.deepEqual(codes, (await quantizeLayer(misled(), { method: 'msq', scale: 'max', bits: 3 })).codes);
});

test('enough data of one distribution, no held-out rows or a Gram matrix of them all: no falling back', async (t) => {
  const n = 64;
  const x = rowsOf(1200, n, 30, 40);
  const layer = { weight: normals(8 * n, 1), outFeatures: 8, inFeatures: n };
  const [activations, holdout] = [x.subarray(0, 900 * n), x.slice(900 * n)];
  for (const given of [{ activations, holdout }, { activations }, { gram: gramOf(x, n), holdout }]) {
    const { report } = await quantizeLayer({ ...layer, ...given }, { bits: 3 });
    t.deepEqual([report.method, report.fellBackFrom], ['vertex', null]);
    t.deepEqual(report.warnings, []);
  }
  const unjudged = misled();
  delete unjudged.holdout;
  t.is((await quantizeLayer(unjudged)).report.fellBackFrom, null);
});

test('few rows that do carry over: vertex is compared and kept', async (t) => {
  const n = 64;
  const x = rowsOf(400, n, 30, 10);
  const { report } = await quantizeLayer(
    {
      weight: normals(8 * n, 1),
      outFeatures: 8,
      inFeatures: n,
      activations: x.subarray(0, 100 * n),
      holdout: x.slice(100 * n),
    },
    { bits: 3 },
  );
  t.deepEqual([report.method, report.fellBackFrom], ['vertex', null]);
});

test('a Gram matrix of other data falls back too, and so does a fit to what the float layer gave', async (t) => {
  const { activations, ...layer } = misled();
  const n = layer.inFeatures;
  const { report } = await quantizeLayer({ ...layer, gram: gramOf(activations!, n) }, { bits: 3 });
  t.is(report.fellBackFrom, 'vertex');
  const shift = (rows: Float64Array | Float32Array, seed: number) => {
    const noise = normals(rows.length, seed);
    return Float64Array.from(rows, (value, i) => value + 0.01 * noise[i]!);
  };
  const aimed = {
    ...layer,
    activations: activations!,
    targetActivations: shift(activations!, 40),
    targetHoldout: shift(layer.holdout!, 41),
  };
  const q = await quantizeLayer(aimed, { bits: 3 });
  t.is(q.report.fellBackFrom, 'vertex');
  // Against the float layer's outputs, as without falling back.
  let [error, signal] = [0, 0];
  const values = q.dequantize();
  for (let row = 0; row < aimed.holdout!.length; row += n)
    for (let k = 0; k < values.length; k += n) {
      let [got, wanted] = [0, 0];
      for (let i = 0; i < n; i++) {
        got += aimed.holdout![row + i]! * values[k + i]!;
        wanted += aimed.targetHoldout[row + i]! * layer.weight[k + i]!;
      }
      error += (got - wanted) ** 2;
      signal += wanted ** 2;
    }
  t.true(Math.abs(q.report.error.holdout! - Math.sqrt(error / signal)) < 1e-6);
});

test('a model says which of its layers fell back', async (t) => {
  const model = network({
    nodes: [node('MatMul', ['x', 'w'], ['y'], { name: 'only' })],
    constants: [tensor('w', [64, 8], random(512, 4))],
    inputs: [float('x', ['batch', 64])],
  });
  const { input, output } = files(t, model);
  const { activations, holdout } = misled();
  const feedsOf = (x: Float64Array | Float32Array) => ({
    x: { ...feed([1], 1)['x']!, data: Float32Array.from(x), dims: [x.length / 64, 64] },
  });
  const report = await quantizeModel(input, output, {
    calibration: [feedsOf(activations!)],
    holdout: [feedsOf(holdout!)],
    bits: 2,
  });
  t.like(report.layers[0], { method: 'msq', fellBackFrom: 'vertex' });
  const table = layerTable(report, { color: false });
  t.regex(table, /^only .* msq, not vertex /m);
  t.regex(table, /warning: only: .*on held-out rows "vertex" has an error of/);
});

test('a step that overflows float32 names the neuron, the first of several, for any number of threads', async (t) => {
  const [neurons, n] = [200, 16];
  const activations = normals(40 * n, 2);
  for (const first of [0, 5, 150]) {
    const weight = normals(neurons * n, 1);
    for (const neuron of [first, 160, 199]) weight[neuron * n + 3] = -1e300;
    const layer = { weight, outFeatures: neurons, inFeatures: n, activations };
    for (const method of all)
      for (const scale of method === 'maly-saab' ? (['max'] as const) : (['search', 'max'] as const))
        for (const threads of [1, 7])
          await t.throwsAsync(quantizeLayer(layer, { method, scale, groupSize: 8, threads }), {
            code: 'ERR_VERTEXQ_SCALE_RANGE',
            message: RegExp(`^neuron ${first}: the weights are too large`),
          });
  }
});

test('data of any magnitude: the same codes, and the error that it is', async (t) => {
  const n = 24;
  const layer = { weight: normals(4 * n, 1), outFeatures: 4, inFeatures: n };
  const [x, y, held] = [rowsOf(80, n, 3, 12), rowsOf(80, n, 4, 12), rowsOf(30, n, 5, 12)];
  const meant = y.map((value, i) => 0.1 * value + x[i]!);
  for (const method of fitted)
    for (const paired of [false, true]) {
      const at = (exponent: number) => {
        const factor = 2 ** exponent;
        const times = (rows: Float64Array) => rows.map((value) => value * factor);
        return quantizeLayer(
          {
            ...layer,
            activations: times(x),
            holdout: times(held),
            ...(paired ? { targetActivations: times(meant), targetHoldout: times(held) } : {}),
          },
          { method, bits: 3 },
        );
      };
      const plain = await at(0);
      for (const exponent of [-390, -450, -700, -1000]) {
        const q = await at(exponent);
        t.deepEqual(q.codes, plain.codes, `${method}, 2^${exponent}`);
        const close = (a: number | null, b: number | null) => Math.abs(a! / b! - 1) < 1e-6;
        t.true(close(q.report.error.calibration, plain.report.error.calibration));
        t.true(close(q.report.error.holdout, plain.report.error.holdout));
        t.deepEqual(q.report.warnings, plain.report.warnings);
      }
      // Subnormal numbers have few digits.
      const q = await at(-1030);
      const real = relativeError(layer.weight, q.dequantize(), n, x);
      if (!paired) t.true(Math.abs(q.report.error.calibration! / real - 1) < 1e-6);
      t.true(q.report.error.calibration! > 0.01);
    }
});

test('weights too small for any step are refused, not told as an error of 0', async (t) => {
  const n = 12;
  const layer = { weight: normals(2 * n, 1).map((w) => w * 1e-200), outFeatures: 2, inFeatures: n };
  for (const method of all) {
    await t.throwsAsync(quantizeLayer({ ...layer, activations: normals(30 * n, 2) }, { method }), {
      code: 'ERR_VERTEXQ_SCALE_RANGE',
      message: /^neuron \d+: the weights are too small/,
    });
  }
});

test('data of zeros: weights are rounded to nearest, and no error is claimed', async (t) => {
  const [neurons, n] = [5, 24];
  const weight = normals(neurons * n, 1);
  const zeros = new Float32Array(30 * n);
  const layer = { weight, outFeatures: neurons, inFeatures: n, activations: zeros };
  for (const method of all)
    for (const given of [
      {},
      { holdout: zeros },
      { holdout: normals(30 * n, 4) },
      ...(fitted.some((name) => name === method) ? [{ targetActivations: zeros }] : []),
    ]) {
      const q = await quantizeLayer({ ...layer, ...given }, { method, bits: 3, groupSize: 8 });
      const { report } = q;
      t.is(report.error.calibration, null);
      t.true(report.error.weight > 0);
      t.is(
        report.warnings.filter((text) => /outputs on the calibration rows are all 0/.test(text)).length,
        1,
      );
      const zeroHeld = 'holdout' in given && given.holdout === zeros;
      t.is(
        report.warnings.some((text) => /held-out rows are all 0/.test(text)),
        zeroHeld,
      );
      t.deepEqual([report.error.holdout === null, report.sqnrDb === null], new Array(2).fill(!('holdout' in given) || zeroHeld)); // prettier-ignore
      t.deepEqual([report.sphereGapDb, report.bound], [null, null]);
      const values = q.dequantize();
      const levels = (at: number) =>
        Array.from({ length: 8 }, (_, code) => {
          const group = Math.floor(at / 8);
          return (code - 4 - (q.zeroPoints?.[group] ?? 0)) * q.scales[group]!;
        });
      for (const [i, w] of weight.entries()) {
        const least = Math.min(...levels(i).map((level) => Math.abs(level - w)));
        t.true(Math.abs(values[i]! - w) <= least + 1e-6, `${method} ${i}`);
      }
    }
  // Of zero weights the outputs are right, whatever the data.
  const { report } = await quantizeLayer({ ...layer, weight: new Float64Array(neurons * n) });
  t.deepEqual(report.error, layerErrors({ calibration: 0, holdout: null }, null, 0));
  t.false(report.warnings.some((text) => /all 0/.test(text)));
});
