import test from 'ava';
import { operatorOf, rules } from '../../../lib/models/gradients/registry';
import { cases } from './cases';
import { check } from './check';

for (const [i, given] of cases.entries()) test(`${i}: ${given.name}`, (t) => check(t, given));

test('every rule has its case', (t) => {
  const tried = new Set(cases.flatMap(({ nodes }) => nodes.map(operatorOf)));
  t.deepEqual(
    Object.keys(rules).filter((operator) => !tried.has(operator)),
    [],
  );
});
