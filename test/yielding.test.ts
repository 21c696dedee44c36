import test from 'ava';
import { sortedInTurns, Turns } from '../lib/yielding';

test('trust 16: long lists are sorted as Array.sort does, equal ones in their order, and an abort is heeded', async (t) => {
  for (const length of [0, 1, 4096, 4097, 20_000]) {
    const list = Array.from({ length }, (_, i) => [Math.imul(i, 2654435761) % 1000, i] as const);
    const compare = ([a]: readonly [number, number], [b]: readonly [number, number]) => a - b;
    t.deepEqual(await sortedInTurns(list, compare, new Turns()), [...list].sort(compare));
  }
  const turns = new Turns(AbortSignal.abort(new Error('stop')));
  await t.throwsAsync(turns.next(), { message: 'stop' });
});
