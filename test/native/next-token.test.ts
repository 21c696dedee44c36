import test from 'ava';
import fc from 'fast-check';
import { nextTokenAt, type NextToken } from '../../lib/evaluate/language/next-tokens';
import { binding } from '../../lib/native/binding';

const number = fc.float({ noNaN: true, min: -8, max: 8 });
const given = fc
  .record({ tokens: fc.integer({ min: 1, max: 5 }), vocabulary: fc.integer({ min: 1, max: 40 }) })
  .chain(({ tokens, vocabulary }) =>
    fc.record({
      ...{ tokens: fc.constant(tokens), vocabulary: fc.constant(vocabulary) },
      step: fc.integer({ min: 1, max: vocabulary }),
      cap: fc.constantFrom(0, 5),
      next: fc.array(fc.nat(vocabulary - 1), { minLength: tokens, maxLength: tokens }),
      // [networks, tokens, vocabulary]: what networks with a hidden entry a token of the vocabulary, and weights of 1, say.
      logits: fc.array(number, { minLength: 2 * tokens * vocabulary, maxLength: 2 * tokens * vocabulary }),
    }),
  );

/** From all logits of a token. */
function reference(float: readonly number[], own: readonly number[], next: number): NextToken {
  const logShares = (logits: readonly number[]) => {
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return logits.map((logit) => logit - total);
  };
  const [p, q] = [logShares(float), logShares(own)];
  return {
    crossEntropy: -q[next]!,
    divergence: p.reduce((sum, log, i) => sum + Math.exp(log) * (log - q[i]!), 0),
    isSame: float.indexOf(Math.max(...float)) === own.indexOf(Math.max(...own)),
  };
}

test('what networks say of the next token follows from all logits, whatever the panels', async (t) => {
  await fc.assert(
    fc.asyncProperty(given, async ({ tokens, vocabulary, step, cap, next, logits }) => {
      const sums = new Float64Array(2 * tokens * 5);
      for (let at = 0; at < sums.length; at += 5) [sums[at], sums[at + 2]] = [-Infinity, -1];
      for (let first = 0; first < vocabulary; first += step) {
        const count = Math.min(step, vocabulary - first);
        const identity = Array.from({ length: count }, (_, row) =>
          Array.from({ length: vocabulary }, (_, i) => Number(i === first + row)),
        ).flat();
        await binding().addNextTokens({
          ...{ sides: 2, tokens, size: vocabulary, first, count, scale: 1, cap, threads: 2, sums },
          hidden: Float32Array.from(logits),
          weights: Float32Array.from([...identity, ...identity]),
          next: Int32Array.from(next),
        }).promise;
      }
      for (let place = 0; place < tokens; place++) {
        const of = (network: number) =>
          logits
            .slice((network * tokens + place) * vocabulary, (network * tokens + place + 1) * vocabulary)
            .map((logit) => Math.fround(cap === 0 ? logit : cap * Math.tanh(logit / cap)));
        for (const network of [0, 1]) {
          const own = nextTokenAt(sums, tokens, network, place);
          const wanted = reference(of(0), of(network), next[place]!);
          t.true(Math.abs(own.crossEntropy - wanted.crossEntropy) < 1e-6);
          t.true(Math.abs(own.divergence - wanted.divergence) < 1e-6);
          // Equal to the last bit they may not be, once capped.
          if (cap === 0) t.is(own.isSame, wanted.isSame);
          if (network === 0) t.is(own.divergence, 0);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test('memory that is too small is refused', (t) => {
  const panel = {
    ...{ sides: 2, tokens: 3, size: 4, first: 0, count: 5, scale: 1, cap: 0, threads: 1 },
    ...{ hidden: new Float32Array(24), weights: new Float32Array(40) },
    ...{ sums: new Float64Array(30), next: new Int32Array(3) },
  };
  for (const short of ['hidden', 'weights', 'sums', 'next'] as const)
    t.throws(() => binding().addNextTokens({ ...panel, [short]: panel[short].subarray(1) }), {
      instanceOf: TypeError,
      message: new RegExp(short),
    });
});
