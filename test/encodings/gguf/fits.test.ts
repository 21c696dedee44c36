import test from 'ava';
import { blockError, packed, rounded, unpacked } from '../../../lib/encodings/gguf/blocks';
import { ggufTypes } from '../../../lib/encodings/gguf/table';
import { ggufTypeNames } from '../../../lib/encodings/names';
import { type LayerData, layerCalibration } from '../../../lib/fit/layer-rows';
import { quantizeLayer, settingsOf } from '../../../lib/fit/quantize-layer';
import { quantizeWeights } from '../../../lib/fit/quantize-weights';
import { rowsKind } from '../../../lib/methods';
import { binding, type RowsKind } from '../../../lib/native/binding';
import { methodTable } from '../../../lib/method-table';
import { random as randomOf } from '../../fit/data';
import { floatToHalf, halfToFloat } from '../../numbers';

const [outFeatures, inFeatures, samples] = [3, 512, 400];

/** Inputs that go together, weights of which some are far from the others. */
function layer(seed: number) {
  const uniform = randomOf(seed);
  const random = () => uniform() + uniform() - uniform() - uniform();
  const mixing = Float32Array.from({ length: 24 * inFeatures }, random);
  const activations = new Float32Array(samples * inFeatures);
  for (let s = 0; s < samples; s++)
    for (let k = 0; k < 24; k++) {
      const strength = random();
      for (let i = 0; i < inFeatures; i++)
        activations[s * inFeatures + i]! += strength * mixing[k * inFeatures + i]! + 0.2 * random();
    }
  const weight = Float32Array.from(
    { length: outFeatures * inFeatures },
    (_, i) => 0.02 * random() * (i % 97 === 0 ? 4 : 1) + 0.004,
  );
  return { weight, outFeatures, inFeatures, activations };
}

const given = layer(20);
const calibrations: Partial<Record<RowsKind, Promise<LayerData>>> = {};

const firstDifference = (a: Float32Array, b: Float32Array) => a.findIndex((value, i) => value !== b[i]);

for (const name of ggufTypeNames)
  test(`${name}: what each method fits is what its blocks hold, and errors fall from method to method`, async (t) => {
    const type = ggufTypes[name];
    const errors: Record<string, number> = {};
    for (const { name: method, scales } of methodTable)
      for (const scale of scales) {
        const kind = rowsKind(method, false);
        const data = await (calibrations[kind] ??= layerCalibration(given, kind));
        const settings = {
          ...settingsOf(given, { method, scale }),
          ...type.settings,
          ...(method === 'vertex' && { passes: 2 }),
        };
        const quantized = await quantizeWeights({ name, kind: 'Linear', ...given, ...data }, settings, {});
        const values = await unpacked(type, await packed(type, quantized), [outFeatures, inFeatures]);
        t.is(firstDifference(values, quantized.dequantize()), -1, `${method}, ${scale}`);
        errors[`${method} ${scale}`] = quantized.report.error.calibration!;
      }
    t.true(errors['vertex search']! <= errors['gptq search']! * 1.0001, JSON.stringify(errors));
    t.true(errors['gptq search']! < errors['gpfq search']!, JSON.stringify(errors));
    t.true(errors['gptq search']! < 0.8 * errors['msq search']!, JSON.stringify(errors));
  });

test('weights of 0, of one sign, huge and tiny ones are fitted and packed, or refused with the neuron', async (t) => {
  const given = { ...layer(21), weight: new Float32Array(outFeatures * inFeatures) };
  const data = await layerCalibration(given, 'gram');
  for (const name of ggufTypeNames)
    for (const unit of [0, 1, 1e-6, 1e3]) {
      given.weight.forEach((_, i, weight) => (weight[i] = i < inFeatures ? 0 : unit * (1 + (i % 7))));
      const settings = { ...settingsOf(given, { method: 'gptq' }), ...ggufTypes[name].settings };
      const quantized = await quantizeWeights({ name, kind: 'Linear', ...given, ...data }, settings, {});
      const values = await unpacked(ggufTypes[name], await packed(ggufTypes[name], quantized), [
        outFeatures,
        inFeatures,
      ]);
      t.is(firstDifference(values, quantized.dequantize()), -1, `${name} ${unit}`);
      t.true(
        values.subarray(0, inFeatures).every((value) => value === 0),
        name,
      );
      if (unit >= 1) t.true(quantized.report.error.weight < 0.3, `${name} ${unit}`);
    }
  given.weight.fill(1e12);
  for (const name of ggufTypeNames)
    await t.throwsAsync(
      quantizeWeights(
        { name, kind: 'Linear', ...given, ...data },
        { ...settingsOf(given, { method: 'gptq' }), ...ggufTypes[name].settings },
        {},
      ),
      { code: 'ERR_VERTEXQ_SCALE_RANGE', message: /^neuron 0: the weights are too large/ },
      name,
    );
});

for (const name of ggufTypeNames)
  test(`${name}: rows of a file are rounded as a fit without data rounds them`, async (t) => {
    const [type, shape] = [ggufTypes[name], [outFeatures, inFeatures] as const];
    const halves = floatToHalf(given.weight);
    const weight = halfToFloat(halves);
    const settings = {
      ...settingsOf(given, { method: 'msq' }),
      ...type.settings,
    };
    const none = { calibration: null, holdout: null };
    const { report } = await quantizeWeights(
      { name, kind: 'Linear', ...given, weight, ...none },
      settings,
      {},
    );
    const data = { data: new Uint8Array(halves.buffer), type: 'F16' } as const;
    const { blocks, norms } = await rounded(type, data, shape);
    const own = await blockError(type, blocks, shape, data);
    t.true(Math.abs(own.error / norms.error - 1) < 1e-6 && own.signal === norms.signal);
    t.true(Math.abs(Math.sqrt(norms.error / norms.signal) / report.error.weight - 1) < 1e-3);
    t.deepEqual(blocks, (await rounded(type, data, shape, { threads: 1 })).blocks);
    // Inputs that alone count are rounded best.
    const importance = Float32Array.from({ length: inFeatures }, (_, i) => (i % 4 === 0 ? 1 : 1e-4));
    const weighted = await unpacked(type, (await rounded(type, data, shape, {}, importance)).blocks, shape);
    const values = await unpacked(type, blocks, shape);
    const error = (of: Float32Array) =>
      of.reduce((sum, value, i) => sum + (i % 4 === 0 ? (value - weight[i]!) ** 2 : 0), 0);
    t.true(error(weighted) < 0.95 * error(values), `${error(weighted)} ${error(values)}`);
  });

test('a block type with other groups, or rows that are no whole blocks, is refused by the addon', (t) => {
  const given = {
    ...layer(22),
    calibration: null,
    holdout: null,
    box: 'cell',
    rank: 'auto',
    rankLimit: 0,
    threads: 1,
  } as const;
  const method = {
    method: 'msq',
    scale: 'search',
    damping: -1,
    correction: 1,
    passes: -1,
    scaleType: 'F16',
    valueType: 'F64',
  } as const;
  const alphabet = { grid: 'float-minimum', levels: 16, groupSize: 64, blockType: 'Q4_K' } as const;
  t.throws(() => binding().quantize({ ...given, ...method, ...alphabet }), { message: /whole blocks/ });
  t.throws(() => binding().quantize({ ...given, ...method, ...alphabet, blockType: 'Q9_K' }), {
    message: /"Q9_K"/,
  });
});

test('quantizeLayer takes a block type, and nothing beside it that it tells', async (t) => {
  const quantized = await quantizeLayer(given, { blockType: 'Q4_K', method: 'gptq' });
  const { bits, levels, groupSize, minima, outFeatures } = quantized;
  t.deepEqual({ bits, levels, groupSize }, { bits: 4, levels: 16, groupSize: 32 });
  t.is(minima!.length, (outFeatures * inFeatures) / 32);
  const values = await unpacked(ggufTypes.Q4_K, await packed(ggufTypes.Q4_K, quantized), [
    outFeatures,
    inFeatures,
  ]);
  t.is(firstDifference(values, quantized.dequantize()), -1);
  await t.throwsAsync(quantizeLayer(given, { blockType: 'Q4_K', groupSize: 64 }), {
    instanceOf: RangeError,
    message: 'The "blockType" option tells what "groupSize" would: leave one of them out',
  });
  await t.throwsAsync(
    quantizeLayer({ weight: new Float32Array(96), outFeatures: 1, inFeatures: 96 }, { blockType: 'Q2_K' }),
    {
      message:
        'The layer cannot be Q2_K: its 96 inputs are no whole blocks of 256, of which Q2_K consists. Use "IQ4_NL"',
    },
  );
  await t.throwsAsync(quantizeLayer(given, { blockType: 'Q7_K' as 'Q6_K' }), { message: /"blockType"/ });
});
