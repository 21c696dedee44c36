import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { quantizeLayer } from '../lib/index';
import { methodTable } from '../lib/method-table';
import { methodOptionNames, methods, takes } from '../lib/methods';
import { binding } from '../lib/native/binding';
import { numbers } from './checkpoints/make';

test("lib/method-table.ts is the addon's table: else run npm run methods", (t) => {
  t.deepEqual(binding().methods, methodTable);
});

test('exactly one method does without data, and the first in the table is the default with it', async (t) => {
  t.is(methods.filter(({ needsData }) => !needsData).length, 1);
  const layer = { weight: numbers(32, 1), outFeatures: 4, inFeatures: 8 };
  const withData = { ...layer, activations: numbers(160, 2) };
  t.is((await quantizeLayer(withData)).report.method, methods[0]!.name);
  t.false(
    (await quantizeLayer(layer).then(({ report }) => methods.find(({ name }) => name === report.method)!))
      .needsData,
  );
});

test('each method does what its row says: options, scales, data, error correction', async (t) => {
  const activations = numbers(160, 2);
  const layer = { weight: numbers(32, 1), outFeatures: 4, inFeatures: 8, activations };
  const values = { effort: 1, damping: 0.01, rank: 2, box: 'cell' } as const;
  for (const { name: method, scales, correctsErrors, certifies, needsData } of methods) {
    for (const option of methodOptionNames) {
      const quantized = quantizeLayer(layer, { method, [option]: values[option] });
      if (takes(method, option)) await t.notThrowsAsync(quantized, `${method} ${option}`);
      else
        await t.throwsAsync(quantized, {
          instanceOf: RangeError,
          message: new RegExp(`"${option}" option belongs to`),
        });
    }
    for (const scale of ['search', 'max'] as const)
      if (scales.includes(scale)) await t.notThrowsAsync(quantizeLayer(layer, { method, scale }));
      else await t.throwsAsync(quantizeLayer(layer, { method, scale }), { message: /needs the scale/ });
    const corrected = quantizeLayer({ ...layer, targetActivations: numbers(160, 3) }, { method });
    if (correctsErrors) t.true((await corrected).report.errorCorrection);
    else await t.throwsAsync(corrected, { instanceOf: RangeError, message: /"targetActivations"/ });
    t.is((await quantizeLayer(layer, { method })).report.bound !== null, certifies);
    const { weight, outFeatures, inFeatures } = layer;
    const bare = { weight, outFeatures, inFeatures };
    if (needsData)
      await t.throwsAsync(quantizeLayer(bare, { method }), { message: /needs calibration data/ });
    else await t.notThrowsAsync(quantizeLayer(bare, { method }));
  }
});

test('docs/methods.md tells of each method and the options it takes', (t) => {
  const text = readFileSync(join(__dirname, '../docs/methods.md'), 'utf8');
  for (const { name, options, needsData, correctsErrors } of methods) {
    const cells = [
      `\`${name}\``,
      needsData ? 'yes' : 'no',
      correctsErrors ? 'yes' : 'no',
      options.map((option) => `\`${option}\``).join(', ') || '–',
    ];
    t.regex(text, new RegExp(`^\\| ${cells.join(' +\\| ')} +\\|`, 'm'), name);
  }
});
