import test from 'ava';
import { compareMethods, type LayerInput, preprocess, quantizeLayer } from '../../lib/index';
import { methodsThat } from '../../lib/methods';
import { correlated, gramOf, normals } from './data';

// Output channels that make up for each other's errors.

const [outFeatures, inFeatures, samples] = [150, 24, 200];
const bits = 3;

function layerOf(seed: number) {
  const weight = normals(outFeatures * inFeatures, seed);
  const activations = correlated(samples, inFeatures, seed + 1, 8);
  // Gradients of few directions.
  const outputGram = gramOf(correlated(60, outFeatures, seed + 2, 20), outFeatures);
  return { weight, outFeatures, inFeatures, activations, outputGram };
}

/** tr(E·XᵀX·Eᵀ·G). */
function lossOf(
  { weight, activations, outputGram }: ReturnType<typeof layerOf>,
  values: Float32Array,
): number {
  const errors = weight.map((value, i) => value - values[i]!);
  let loss = 0;
  for (let row = 0; row < samples; row++) {
    const own = Float64Array.from({ length: outFeatures }, (_, k) => {
      let sum = 0;
      for (let i = 0; i < inFeatures; i++)
        sum += activations[row * inFeatures + i]! * errors[k * inFeatures + i]!;
      return sum;
    });
    for (let j = 0; j < outFeatures; j++)
      for (let k = 0; k < outFeatures; k++) loss += own[j]! * own[k]! * outputGram[j * outFeatures + k]!;
  }
  return loss;
}

test("with an outputs' Gram matrix the loss of all channels together falls, in every method that aims at outputs, whatever the threads", async (t) => {
  const layer = layerOf(1);
  const { outputGram, ...alone } = layer;
  for (const method of methodsThat(({ correctsErrors }) => correctsErrors)) {
    const options = { method, bits, ...(method === 'vertex' && { effort: 2 }) };
    const [one, three] = await Promise.all(
      [1, 3].map((threads) => quantizeLayer(layer, { ...options, threads })),
    );
    t.deepEqual(one!.codes, three!.codes);
    t.deepEqual(one!.scales, three!.scales);
    const plain = await quantizeLayer(alone, options);
    t.true(lossOf(layer, one!.dequantize()) < 0.95 * lossOf(layer, plain.dequantize()), method);
    // What is told is each channel's own.
    t.true(one!.report.error.calibration! > plain.report.error.calibration!);
    const scaled = outputGram.map((value) => value * 2 ** -40);
    t.deepEqual(
      (await quantizeLayer({ ...alone, outputGram: scaled }, options)).codes,
      one!.codes,
      'its unit',
    );
  }
});

test('a comparison is of the methods that can use it', async (t) => {
  const { runs } = await compareMethods(layerOf(7), { bits: [bits], effort: 0 });
  t.deepEqual(
    runs.map(({ method }) => method),
    ['vertex', 'gptq', 'gpfq'],
  );
  const alone = await quantizeLayer(layerOf(7), { method: 'gptq', bits });
  t.is(runs[1]!.error.calibration, alone.report.error.calibration);
});

test('what it cannot be is said', async (t) => {
  const layer = layerOf(13);
  const { activations, outputGram, ...weights } = layer;
  const refused = async (
    given: Partial<LayerInput>,
    message: RegExp,
    method: 'gptq' | 'msq' | 'maly-saab' = 'gptq',
  ) => {
    const error = await t.throwsAsync(quantizeLayer({ ...layer, ...given }, { method }));
    t.regex(error.message, message);
    return error as { code?: string };
  };
  await refused(
    { outputGram: gramOf(activations, inFeatures) },
    /"outputGram" to have whole rows of 150 numbers, not 576/,
  );
  await refused(
    { outputGram: outputGram.slice(outFeatures) },
    /"outputGram" to have outFeatures × outFeatures = 150 × 150 numbers, not 22350/,
  );
  await refused({ outputGram: Float32Array.from(outputGram) as never }, /"outputGram" to be a Float64Array/);
  await refused({}, /"outputGram" has no effect on the method "msq"/, 'msq');
  await refused(
    {},
    /"maly-saab" fits each neuron by itself, and takes no "outputGram": use "vertex", "gptq" or "gpfq"/,
    'maly-saab',
  );
  await t.throwsAsync(quantizeLayer({ ...weights, outputGram }), {
    message: /"outputGram" needs "activations" or "gram"/,
  });
  await t.throwsAsync(preprocess(layer), { message: /takes no "outputGram"/ });
  const negative = outputGram.map((value) => -value);
  t.is((await refused({ outputGram: negative }, /"outputGram"/)).code, 'ERR_VERTEXQ_GRAM');
  t.is((await refused({ outputGram: outputGram.with(5, NaN) }, /"outputGram"/)).code, 'ERR_VERTEXQ_GRAM');
});

test('channels that have nothing in common are fitted as without', async (t) => {
  const {
    outputGram: { length },
    ...alone
  } = layerOf(19);
  const outputGram = new Float64Array(length);
  for (let k = 0; k < outFeatures; k++) outputGram[k * outFeatures + k] = 1;
  const [own, plain] = [
    await quantizeLayer({ ...alone, outputGram }, { method: 'gptq', bits }),
    await quantizeLayer(alone, { method: 'gptq', bits }),
  ];
  t.true(Math.abs(own.report.error.calibration! / plain.report.error.calibration! - 1) < 1e-3);
});
