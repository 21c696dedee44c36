import test from 'ava';
import { type LayerInput, type Method, preprocess, quantizeLayer, VertexqError } from '../../lib/index';
import { gramOf, norm, normals, relativeError } from './data';
import { layerOf } from './failing';

const methods = ['vertex', 'gptq', 'gpfq', 'maly-saab', 'msq'] as const;

test('trust 23: huge and tiny Gram matrices give the codes and errors of ordinary ones', async (t) => {
  const { weight, outFeatures, inFeatures, activations } = layerOf();
  const gram = gramOf(activations!, inFeatures);
  const layer: LayerInput = { weight, outFeatures, inFeatures };
  const ordinary = await preprocess({ ...layer, gram });
  for (const power of [1018, 1013, 600, -600, -1000]) {
    // Squares of numbers this far out are beyond float64.
    const given = { ...layer, gram: gram.map((value) => value * 2 ** power) };
    for (const method of methods) {
      const [expected, scaled] = await Promise.all([
        quantizeLayer({ ...layer, gram }, { method, bits: 3 }),
        quantizeLayer(given, { method, bits: 3 }),
      ]);
      t.deepEqual(scaled.codes, expected.codes, `${method} ${power}`);
      t.true(
        Math.abs(scaled.report.error.calibration! - expected.report.error.calibration!) < 1e-9,
        `${method} ${power}: ${scaled.report.error.calibration} ${expected.report.error.calibration}`,
      );
      t.deepEqual(scaled.report.warnings, expected.report.warnings);
    }
    const walked = await preprocess(given);
    t.is(walked.rank, ordinary.rank, `preprocess ${power}`);
    t.true(norm(walked.weight, ordinary.weight) < 1e-9);
  }
});

/** I − t·11ᵀ, whose least eigenvalue is 1 − t·n. */
function below(n: number, least: number): Float64Array {
  const off = (least - 1) / n;
  return Float64Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0) + off);
}

test('trust 28: a matrix with eigenvalues below 0 by more than rounding is no Gram matrix', async (t) => {
  for (const [n, least] of [
    [400, -0.002],
    [400, -0.0036],
    [24, -0.001],
    [2, -0.0001],
  ] as const)
    for (const method of methods) {
      const layer = { weight: normals(2 * n, 3), outFeatures: 2, inFeatures: n, gram: below(n, least) };
      const error = await t.throwsAsync<VertexqError>(quantizeLayer(layer, { method }), {
        instanceOf: VertexqError,
        message: /not positive semidefinite/,
      });
      t.is(error?.code, 'ERR_VERTEXQ_GRAM');
    }
});

// A guard: 0.1.0 passes it.
test('trust 28: of sums that rounding has bent the semidefinite part is fitted and measured', async (t) => {
  const n = 48;
  const samples = 20;
  const x = Float32Array.from(normals(samples * n, 5));
  // Summed in float32, with fewer rows than inputs: eigenvalues of about −1e-6 of the largest.
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let row = 0; row < samples; row++)
        sum = Math.fround(sum + Math.fround(x[row * n + i]! * x[row * n + j]!));
      gram[i * n + j] = sum;
    }
  const weight = normals(4 * n, 6);
  for (const method of ['vertex', 'gptq', 'gpfq', 'msq'] as Method[]) {
    const layer = { weight, outFeatures: 4, inFeatures: n };
    const done = await quantizeLayer({ ...layer, gram }, { method, bits: 3 });
    const truth = relativeError(weight, done.dequantize(), n, x);
    const told = done.report.error.calibration!;
    t.true(told > 0 && Math.abs(told - truth) < 1e-3, `${method}: told ${told}, in truth ${truth}`);
  }
  // A direction in which outputs would have a negative square, as long as the tolerance allows: errors count it as 0.
  const bent = below(n, -2e-5);
  const along = new Float64Array(n).fill(1 / 3);
  for (const method of ['vertex', 'gptq', 'gpfq'] as Method[]) {
    const layer = { weight: along, outFeatures: 1, inFeatures: n, gram: bent };
    const { report } = await quantizeLayer(layer, { method, levels: 3 });
    const { calibration } = report.error;
    t.true(calibration === null || calibration >= 0, `${method}: ${calibration}`);
    t.true(report.sqnrDb === null || Number.isFinite(report.sqnrDb));
  }
});

test('trust 28: a cross Gram matrix of other rows than the Gram matrix is refused, or said to be one', async (t) => {
  const n = 24;
  const weight = normals(2 * n, 3);
  const cross = gramOf(normals(60 * n, 5), n);
  const layer = { weight, outFeatures: 2, inFeatures: n };
  const without = cross.map((value, i) => (i % n === 3 || Math.floor(i / n) === 3 ? 0 : value));
  for (const method of ['vertex', 'gptq', 'gpfq'] as Method[]) {
    for (const [gram, input] of [
      [new Float64Array(n * n), 0],
      [without, 3],
    ] as const)
      await t.throwsAsync(quantizeLayer({ ...layer, gram, crossGram: cross }, { method }), {
        code: 'ERR_VERTEXQ_GRAM',
        message: RegExp(
          `"crossGram" does not belong to "gram": by "gram" input ${input} is always 0.* at column 0$`,
        ),
      });
    // Five rows cannot have products with sixty.
    const few = gramOf(normals(5 * n, 9), n);
    const { report } = await quantizeLayer({ ...layer, gram: few, crossGram: cross }, { method, bits: 4 });
    t.true(report.error.againstFloat!.calibration! > 1);
    t.regex(report.warnings.join('\n'), /larger than with weights that are all 0: expected "crossGram"/);
    // An input that is always 0 in both, and rows that belong together.
    const both = { ...layer, gram: without, crossGram: without };
    t.deepEqual((await quantizeLayer(both, { method, bits: 4 })).report.warnings, []);
  }
});
