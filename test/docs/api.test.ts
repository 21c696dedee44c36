import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { apiPage, exportsOf } from '../../scripts/api';

test('issue 21 item 9: every export has a comment', (t) => {
  const all = exportsOf();
  t.true(all.length > 100);
  t.deepEqual(
    all.filter(({ comment }) => comment.length < 10).map(({ name }) => name),
    [],
  );
});

test('issue 21 item 9: every property of an exported interface has a comment', (t) => {
  const bare = exportsOf().flatMap(({ name, bare: own }) => own.map((property) => `${name}.${property}`));
  t.deepEqual(bare, []);
});

test('issue 21 item 9: docs/api.md is what the sources say: else run npm run docs:api', async (t) => {
  t.is(readFileSync(join(__dirname, '../../docs/api.md'), 'utf8'), await apiPage());
});
