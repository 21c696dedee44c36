import test from 'ava';
import fc from 'fast-check';
import { floatToHalf, halfToFloat } from '../numbers';

test('every half-precision number comes back', (t) => {
  const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const values = halfToFloat(bits);
  const back = floatToHalf(values);
  for (let i = 0; i < 65536; i++)
    if (!Number.isNaN(values[i])) {
      if (back[i] !== i) t.fail(`${i} became ${back[i]}`);
    } else if ((back[i]! & 0x7c00) !== 0x7c00 || (back[i]! & 0x3ff) === 0)
      t.fail(`NaN ${i} became ${back[i]}`);
  t.pass();
});

test('known numbers', (t) => {
  t.deepEqual(
    [...halfToFloat(Uint16Array.of(0x3c00, 0xc000, 0x7bff, 0x0001, 0x0400, 0x8000, 0x7c00, 0xfc00))],
    [1, -2, 65504, 2 ** -24, 2 ** -14, -0, Infinity, -Infinity],
  );
  t.deepEqual(
    [...floatToHalf(Float64Array.of(65519.99, 65520, 1e300, 2 ** -25, 2 ** -25 * 1.0001, -1e-300))],
    [0x7bff, 0x7c00, 0x7c00, 0, 1, 0x8000],
  );
});

test('rounds to the nearest, ties to even', (t) => {
  const positive = halfToFloat(Uint16Array.from({ length: 0x7c00 }, (_, i) => i));
  fc.assert(
    fc.property(fc.double({ min: 0, max: 65504, noNaN: true }), (value) => {
      const index = floatToHalf(Float64Array.of(value))[0]!;
      const error = Math.abs(positive[index]! - value);
      for (const neighbour of [index - 1, index + 1]) {
        if (neighbour < 0 || neighbour >= positive.length) continue;
        const other = Math.abs(positive[neighbour]! - value);
        if (other < error || (other === error && index % 2 === 1)) return false;
      }
      return true;
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
