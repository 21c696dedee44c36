import test from 'ava';
import { preprocess, quantizeLayer } from '../../lib/index';
import { LayerRows } from '../../lib/fit/layer-rows';
import { sharedCopyNow } from '../../lib/native/shared';
import { holdsUp } from '../event-loop';
import { random } from '../models/networks';

const width = 16;
const shape = { outFeatures: 4, inFeatures: width };
const weight = random(4 * width, 1);
/** 64 MB. */
const many = random(2 ** 24, 2);
const options = { method: 'gptq', bits: 4, threads: 1 } as const;

test.serial('trust item 4: what is given is not copied at once', async (t) => {
  const [float, twice] = [many.slice(), Float64Array.from(many.subarray(0, 2 ** 23))];
  const gram = new Float64Array(1024 ** 2 * 4);
  for (let i = 0; i < 2048; i++) gram[i * 2049] = 1 + i;
  const few = many.subarray(0, 64 * width);
  const wide = { weight: random(2048, 3), outFeatures: 1, inFeatures: 2048 };
  for (const [what, layer] of [
    ['activations', { weight, ...shape, activations: many, targetActivations: float }],
    ['doubles', { weight, ...shape, activations: twice }],
    ['holdout', { weight, ...shape, activations: few, holdout: many }],
    ['gram', { ...wide, gram }],
  ] as const)
    t.is(await holdsUp(() => quantizeLayer(layer, options)), null, what);
  const large = { weight: many, outFeatures: 2 ** 10, inFeatures: 2 ** 14 };
  t.is(await holdsUp(() => quantizeLayer(large, { method: 'msq', scale: 'max', bits: 4 })), null, 'weight');
});

test.serial('many arrays that change before they were read are an error, and never a mixture', async (t) => {
  const layer = () => ({ weight, ...shape, activations: many.slice(), holdout: many.slice() });
  for (const name of ['activations', 'holdout'] as const)
    for (const spoil of ['change', 'transfer'] as const) {
      const given = layer();
      const job = quantizeLayer(given, options);
      if (spoil === 'change') given[name].fill(0.5);
      else structuredClone(given[name], { transfer: [given[name].buffer] });
      await t.throwsAsync(job, {
        instanceOf: TypeError,
        message: RegExp(`^"${name}" was changed or transferred before it was read`),
      });
    }
  const large = many.slice();
  const job = quantizeLayer({ weight: large, outFeatures: 2 ** 10, inFeatures: 2 ** 14 }, { method: 'msq' });
  large.fill(0);
  await t.throwsAsync(job, { instanceOf: TypeError, message: /^"weight" was changed/ });
  const walked = layer();
  const walk = preprocess(walked);
  walked.activations.fill(0);
  await t.throwsAsync(walk, { instanceOf: TypeError, message: /^"activations" was changed/ });
});

test('codes and scales can be transferred to other threads', async (t) => {
  const { codes, scales } = await quantizeLayer(
    { weight: many.subarray(0, 2 ** 18), outFeatures: 2 ** 9, inFeatures: 2 ** 9 },
    { method: 'msq', groupSize: 4 },
  );
  for (const values of [codes, scales]) {
    const { length } = values;
    t.is(structuredClone(values, { transfer: [values.buffer as ArrayBuffer] }).length, length);
    t.is(values.length, 0);
  }
});

test('rows in shared memory are read where they are, and weighted without being changed', async (t) => {
  const rows = sharedCopyNow(many.subarray(0, 2 ** 12));
  const weights = random(2 ** 8, 4).map(Math.abs);
  const before = rows.slice();
  const calibration = LayerRows.of(width, 'gram');
  await calibration.add(rows, undefined, undefined, weights);
  t.deepEqual(rows.slice(), before);
  t.is(calibration.samples, 2 ** 8);
});
