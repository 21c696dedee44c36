import test from 'ava';
import type { QuantizeOptions } from '../../lib/index';
import { TimeBudget } from '../../lib/traversal/time-budget';
import { random } from '../models/networks';
import { layerOf, MemoryForward, type MemoryLayer, MemorySource, width } from './memory-network';

const options: QuantizeOptions = { method: 'vertex', bits: 3 };
const batches = [{ rows: random(60 * width, 1), heldOut: false, share: 1 }];
const chain = (...own: QuantizeOptions[]): MemoryLayer[] =>
  own.map((more, i) => layerOf(`layer${i}`, new MemorySource(i), { ...options, ...more }));

/** A run of these layers, each of which takes 100 ms up to its fit, 50 in it, and what its passes are given. Returns that, and when it ended. */
function simulate(layers: readonly MemoryLayer[], deadline: number, usesAll = true) {
  let now = 1000;
  const budget = new TimeBudget(1000 + deadline, new MemoryForward(layers, [], batches), () => now);
  const given = layers.map((layer) => {
    now += 100;
    const { passSeconds } = budget.settingsOf(layer, 1);
    now += 50 + (usesAll ? 1000 * (passSeconds ?? 0) : 0);
    budget.made(layer);
    return passSeconds;
  });
  return { given, ended: now - 1000 };
}

test('what is left of the time goes to all layers alike, and it is kept to', (t) => {
  const { given, ended } = simulate(chain({}, {}, {}, {}), 10_000);
  for (const seconds of given) t.true(seconds! > 1.8 && seconds! < 2.8, String(given));
  t.true(ended > 9000 && ended <= 10_000, String(ended));
});

test('what one layer leaves goes to those behind it', (t) => {
  const { given } = simulate(chain({}, {}, {}, {}), 10_000, false);
  for (const [i, seconds] of given.slice(1).entries()) t.true(seconds! > given[i]!, String(given));
  t.true(given.at(-1)! > 8);
});

test('layers whose passes are told, or that make none, are given no time, and none is given that is not there', (t) => {
  const { given } = simulate(chain({}, { effort: 3 }, { method: 'gptq' }, {}), 10_000);
  t.deepEqual([given[1], given[2]], [undefined, undefined]);
  t.true(given[0]! > 3.5 && given[3]! > 4, String(given));
  t.deepEqual(simulate(chain({}, {}), 50).given, [0, 0]);
});
