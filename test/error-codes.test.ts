import test from 'ava';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCodes } from '../lib/error-codes';
import { errorsPage } from '../scripts/errors';
import { runFake } from './cli/fake';

const root = join(__dirname, '..');

test('issue 21 item 6: docs/errors.md is what the table says: else run npm run docs:errors', async (t) => {
  t.is(readFileSync(join(root, 'docs/errors.md'), 'utf8'), await errorsPage());
});

test('issue 21 item 6: every code that the sources have is in the table, and the other way round', (t) => {
  const found = new Set<string>();
  for (const folder of ['lib', 'native/core', 'native/addon'])
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      if (!/\.(ts|cpp|h)$/.test(name) || name === 'error-codes.ts') continue;
      const text = readFileSync(join(root, folder, name), 'utf8');
      for (const [, code] of text.matchAll(/['"](ERR_VERTEXQ_[A-Z_]*[A-Z])['"]/g)) found.add(code!);
    }
  t.deepEqual([...found].sort(), Object.keys(errorCodes).sort());
});

test('issue 21 item 6: vertexq explain says what a code means and what to do', async (t) => {
  const one = await runFake(['explain', 'ERR_VERTEXQ_EXISTS']);
  t.is(one.code, 0);
  t.true(one.stdout.startsWith('ERR_VERTEXQ_EXISTS (exit code 4)\n'));
  t.true(one.stdout.includes(errorCodes.ERR_VERTEXQ_EXISTS.remedy));
  t.is((await runFake(['explain', 'exists'])).stdout, one.stdout);
  const all = await runFake(['explain']);
  for (const code of Object.keys(errorCodes)) t.true(all.stdout.includes(`${code} (`));
  const unknown = await runFake(['explain', 'nothing\u001b']);
  t.is(unknown.code, 2);
  t.regex(
    unknown.stderr,
    /^vertexq: There is no error and no warning nothing\\x1b: "vertexq explain" lists all of them\n$/,
  );
});
