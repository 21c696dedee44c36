import test from 'ava';
import fc from 'fast-check';
import { headline, leftNames, type Run, shareTable, sharesOf } from '../../lib/reports/shares';
import { painter } from '../../lib/reports/text';

const size = fc.integer({ min: 0, max: 2 ** 45 });
const reason = fc.oneof(fc.constantFrom('an embedding', 'a vector', 'empty', 'a\x1b[2J'), fc.string());
const skipped = fc.record({ name: fc.string(), reason, bytes: size, choice: fc.boolean() });
const runs: fc.Arbitrary<Run> = fc.record({
  quantized: fc.nat(1000),
  thing: fc.constantFrom('layer', 'weight'),
  skipped: fc.array(skipped, { maxLength: 60 }),
  bytes: fc.record({ before: size, after: size, weightsBefore: size, weightsAfter: size }),
  others: fc.record({ count: fc.nat(5), bytes: size }),
});

function run(changes: Partial<Run> = {}): Run {
  return {
    ...{ quantized: 1, thing: 'layer', skipped: [] },
    bytes: { before: 1000, after: 400, weightsBefore: 800, weightsAfter: 200 },
    ...changes,
  };
}

test('case computed weights: the lines of the table add up to the whole file, whatever was left', (t) => {
  fc.assert(
    fc.property(runs, (made) => {
      const shares = sharesOf(made);
      const whole = shares.pop()!;
      t.deepEqual(
        { before: whole.before, after: whole.after },
        { before: made.bytes.before, after: made.bytes.after },
      );
      for (const of of ['before', 'after'] as const)
        t.is(
          shares.reduce((sum, share) => sum + share[of], 0),
          whole[of],
        );
      t.is(whole.count, made.quantized + made.skipped.length + made.others!.count);
      for (const choice of [true, false]) {
        const of = made.skipped.filter((weight) => weight.choice === choice);
        const said = shares.filter(({ title }) =>
          title.startsWith(choice ? 'left by choice: ' : 'could not be quantized: '),
        );
        t.is(
          said.reduce((sum, { before }) => sum + before, 0),
          of.reduce((sum, { bytes }) => sum + bytes, 0),
        );
      }
    }),
  );
});

test('names and reasons of files do nothing to a terminal, and lists stay short', (t) => {
  fc.assert(
    fc.property(runs, fc.integer({ min: 30, max: 120 }), (made, width) => {
      const text = [
        headline(made),
        shareTable(made, { paint: painter(false), width }),
        ...leftNames(made),
      ].join('\n');
      // eslint-disable-next-line no-control-regex
      t.notRegex(text, /[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
      t.true(sharesOf(made).length <= 26);
    }),
  );
});

test('case fused experts: the first line is over the whole file, and says what could not be quantized', (t) => {
  t.is(
    headline(run()),
    '1 layer: file 1000 B → 400 B (2.5×); weights 800 B → 200 B (4.0×)'.replace('1000 B', '1.00 kB'),
  );
  const experts = { name: 'experts.gate_up_proj', reason: '3 dimensions, not 2', bytes: 97_000 };
  const bytes = { before: 100_000, after: 98_000, weightsBefore: 2500, weightsAfter: 500 };
  t.is(
    headline(run({ bytes, skipped: [{ ...experts, choice: false }] })),
    '1 layer: file 100 kB → 98.0 kB (1.0×); 97.0 % of it, 97.0 kB, could not be quantized; weights 2.50 kB → 500 B (5.0×)',
  );
  t.notRegex(headline(run({ bytes, skipped: [{ ...experts, choice: true }] })), /could not/);
  t.notRegex(headline(run({ skipped: [{ ...experts, bytes: 10, choice: false }] })), /could not/);
  t.is(
    headline(run({ quantized: 0, bytes: { before: 9, after: 9, weightsBefore: 0, weightsAfter: 0 } })),
    '0 layers: file 9 B → 9 B (1.0×); weights 0 B → 0 B',
  );
});

test('one is singular', (t) => {
  const one = { name: 'a', reason: 'empty', bytes: 0, choice: false };
  t.deepEqual(leftNames({ skipped: [one] }), [
    '1 weight could not be quantized and is as it was:',
    '  empty: a',
  ]);
  t.is(leftNames({ skipped: [one, one] })[0], '2 weights could not be quantized and are as they were:');
  t.deepEqual(leftNames({ skipped: [{ ...one, choice: true }] }), []);
});
