import test from 'ava';
import fc from 'fast-check';
import { ScaleSteps } from '../../../lib/models/tuning/optimizer';

const numbers = fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), { minLength: 1, maxLength: 20 });

test('scales keep their signs, and those of 0 stay; none changes by more than the steps allow', (t) => {
  fc.assert(
    fc.property(numbers, fc.integer({ min: 1, max: 12 }), fc.integer(), (given, steps, seed) => {
      const scales = Float32Array.from(given);
      const changing = new ScaleSteps(scales, steps);
      for (let step = 0; step < steps; step++)
        changing.take(scales.map((_, i) => Math.sin(seed + 7 * i + step) * 10 ** ((i + step) % 7)));
      for (const [i, scale] of scales.entries()) {
        const was = Math.fround(given[i]!);
        if (was === 0) t.is(scale, was);
        else t.true(Math.abs(Math.log(scale / was)) < 0.02 * steps);
      }
    }),
    { numRuns: 50 },
  );
});

test('against a quadratic error scales come nearer to its least', (t) => {
  const least = Float32Array.of(1, -2, 0.5, 3);
  const scales = least.map((scale, i) => scale * (i % 2 ? 1.02 : 0.98));
  const error = () => scales.reduce((sum, scale, i) => sum + (scale / least[i]! - 1) ** 2, 0);
  const before = error();
  const changing = new ScaleSteps(scales, 16);
  for (let step = 0; step < 16; step++)
    changing.take(scales.map((scale, i) => (scale - least[i]!) / least[i]! ** 2));
  t.true(error() < before / 4);
});
