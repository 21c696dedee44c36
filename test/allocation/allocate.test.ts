import test from 'ava';
import fc from 'fast-check';
import { allocate, totals } from '../../lib/allocation/allocate';
import type { Candidate } from '../../lib/allocation/candidate';

const candidate = (most: number) =>
  fc.record({
    bytes: fc.nat(most),
    cost: fc.oneof(fc.nat(20), fc.double({ min: 0, max: 1e3, noNaN: true })),
  });
const few = fc.array(fc.array(candidate(30), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 });

/** The least cost of all choices that fit; undefined where none does. */
function bruteForce(items: readonly (readonly Candidate[])[], budget: number): number | undefined {
  let best: number | undefined;
  const choices: number[] = [];
  const visit = (item: number) => {
    if (item === items.length) {
      const { bytes, cost } = totals(items, choices);
      if (bytes <= budget && (best === undefined || cost < best)) best = cost;
      return;
    }
    for (const index of items[item]!.keys()) {
      choices[item] = index;
      visit(item + 1);
    }
  };
  visit(0);
  return best;
}

const isNear = (a: number, b: number) => Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(a), Math.abs(b));

test('few items: as good as trying all choices, within the budget', async (t) => {
  await fc.assert(
    fc.asyncProperty(few, fc.nat(150), async (items, budget) => {
      const best = bruteForce(items, budget);
      if (best === undefined) {
        await t.throwsAsync(allocate(items, budget), { code: 'ERR_VERTEXQ_BUDGET' });
        return true;
      }
      const found = await allocate(items, budget);
      const again = totals(items, found.choices);
      return (
        again.bytes === found.bytes &&
        found.bytes <= budget &&
        isNear(again.cost, found.cost) &&
        isNear(found.cost, best) &&
        found.gap === 0 &&
        found.bound === found.cost
      );
    }),
    { numRuns: 400 },
  );
});

test('many items: within the budget, and the bound is below what any choice costs', async (t) => {
  const many = fc.array(fc.array(candidate(1e9), { minLength: 1, maxLength: 8 }), {
    minLength: 20,
    maxLength: 60,
  });
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(
        many,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.nat(),
        async (items, part, seed) => {
          const [least, most] = [Math.min, Math.max].map((of) =>
            items.reduce((sum, own) => sum + of(...own.map(({ bytes }) => bytes)), 0),
          ) as [number, number];
          const budget = least + part * (most - least);
          const found = await allocate(items, budget);
          // Another choice that fits: the smallest candidates, some of them changed.
          const smallest = items.map((own) =>
            own.reduce((at, { bytes }, i) => (bytes < own[at]!.bytes ? i : at), 0),
          );
          const other = [...smallest];
          for (const [i, own] of items.entries()) {
            const before = other[i]!;
            other[i] = (seed + 7 * i) % own.length;
            if (totals(items, other).bytes > budget) other[i] = before;
          }
          return (
            found.bytes <= budget &&
            found.gap >= 0 &&
            isNear(found.cost - found.bound, found.gap) &&
            found.bound <= totals(items, other).cost * (1 + 1e-9) &&
            found.cost <= totals(items, smallest).cost &&
            JSON.stringify(await allocate(items, budget)) === JSON.stringify(found)
          );
        },
      ),
      { numRuns: 40 },
    ),
  );
});

test('a network of blocks that are alike, with costs that differ: the gap is closed', async (t) => {
  const items = Array.from({ length: 210 }, (_, i) => {
    const size = [110_592, 36_864, 294_912][i % 3]!;
    const weight = 1 + ((i * 7919) % 97);
    return [2, 3, 4, 5, 6, 8].map((bits) => ({ bytes: (size * bits) / 8, cost: weight * 4 ** -bits }));
  });
  const budget = Math.floor(items.reduce((sum, own) => sum + own[2]!.bytes, 0) * 0.93);
  const { bytes, gap, cost } = await allocate(items, budget);
  t.true(bytes <= budget);
  t.true(bytes > 0.999 * budget);
  t.true(gap <= 1e-3 * cost, `${gap} of ${cost}`);
});

test('where all fits each item gets its best; equal costs take fewer bytes', async (t) => {
  const items = [
    [
      { bytes: 5, cost: 1 },
      { bytes: 9, cost: 0 },
      { bytes: 12, cost: 0 },
    ],
    [
      { bytes: 4, cost: 3 },
      { bytes: 3, cost: 3 },
    ],
  ];
  t.deepEqual(await allocate(items, 100), { choices: [1, 1], bytes: 12, cost: 3, bound: 3, gap: 0 });
});

test('what is no item, no candidate or no number is refused', async (t) => {
  await t.throwsAsync(allocate([], 1), { instanceOf: RangeError });
  await t.throwsAsync(allocate([[]], 1), { instanceOf: RangeError, message: /Item 0 has no candidates/ });
  await t.throwsAsync(allocate([[{ bytes: 0.5, cost: 1 }]], 1), { message: /whole number from 0, not 0.5/ });
  await t.throwsAsync(allocate([[{ bytes: 1, cost: NaN }]], 1), { message: /number from 0, not NaN/ });
  await t.throwsAsync(allocate([[{ bytes: 1, cost: 1 }]], NaN), { message: /budget of 0 bytes or more/ });
  const controller = new AbortController();
  controller.abort(new Error('enough'));
  await t.throwsAsync(allocate([[{ bytes: 1, cost: 1 }]], 1, controller.signal), { message: 'enough' });
});
