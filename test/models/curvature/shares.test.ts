import fc from 'fast-check';
import test from 'ava';
import { sharesOf } from '../../../lib/models/curvature/shares';

// What is left of what was foretold, drawn towards others of the kind.

const one = (name: string, part: number, variance: number, foretold = 1) => ({
  name,
  part,
  variance,
  foretold,
});
const close = (found: number[], wanted: number[]) =>
  found.length === wanted.length && found.every((share, i) => Math.abs(share - wanted[i]!) < 1e-12);

test('what is certain is told as it was found, what is unknown as its kind', (t) => {
  const certain = [one('q.0', 0.3, 0), one('q.1', 0.6, 0), one('q.2', 0.3, 0, 2)];
  t.true(close(sharesOf(certain), [0.3, 0.6, 0.15]));
  const others = [one('o.0', 0.9, 0), one('o.1', NaN, Infinity)];
  t.true(close(sharesOf([...certain, one('q.3', NaN, Infinity), ...others]), [0.3, 0.6, 0.15, 0.3, 0.9, 2.1 / 5])); // prettier-ignore
  // One sample alone: how far they differ is not known.
  const single = certain.map((own) => ({ ...own, variance: Infinity }));
  t.true(close(sharesOf(single), [0.3, 0.3, 0.3]));
});

test('of layers that differ by no more than their uncertainty all have the share of their kind', (t) => {
  const shares = sharesOf([one('v.0', 0.1, 0.04), one('v.1', 0.3, 0.04), one('v.2', -0.1, 0.04), one('v.3', 0.1, 0.04)]); // prettier-ignore
  t.true(close(shares, [0.1, 0.1, 0.1, 0.1]));
});

test('the more layers differ beyond their uncertainty, the more each is told by itself', (t) => {
  // Mean 1; squares .25 off it, .05 of these are uncertainty, which is not the same in all.
  const shares = sharesOf([one('o.0', 0.5, 0.02), one('o.1', 1.5, 0.08), one('o.2', 0.5, 0.05), one('o.3', 1.5, 0.05)]); // prettier-ignore
  t.true(close(shares, [0.6, 1.4, 0.6, 1.4]));
});

test('kinds differ in more than numbers; few of a kind are drawn to all; something is always left', (t) => {
  const kinds = [0, 1, 2].flatMap((i) => [one(`blk.${i}.q`, 0.2, 0.01), one(`blk.${i}.o`, 1, 0.01)]);
  t.true(close(sharesOf(kinds), [0.2, 1, 0.2, 1, 0.2, 1]));
  t.true(close(sharesOf([...kinds, one('head', 0.6, 1e9)]).slice(-1), [0.6]) === true);
  t.deepEqual(sharesOf([0, 1, 2].map((i) => one(`v.${i}`, -1, 0))), [0.02, 0.02, 0.02]);
  t.deepEqual(sharesOf([]), []);
  t.deepEqual(sharesOf([one('a', 0, 0, 0)]), [1]);
});

test('shares are finite, and never outside of what was found of a kind', (t) => {
  const layer = fc.record({
    name: fc.constantFrom('a.0', 'a.1', 'b.2', 'c'),
    part: fc.double({ min: -1, max: 4, noNaN: true }),
    variance: fc.oneof(fc.constant(Infinity), fc.double({ min: 0, max: 2, noNaN: true })),
    foretold: fc.double({ min: 1e-3, max: 10, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(layer, { maxLength: 12 }), (found) => {
      const ratios = found.map(({ part, foretold }) => part / foretold);
      for (const share of sharesOf(found)) {
        t.true(Number.isFinite(share));
        t.true(share <= Math.max(0.02, ...ratios) + 1e-9);
        t.true(share >= Math.max(0.02, Math.min(...ratios)) - 1e-9);
      }
    }),
  );
});
