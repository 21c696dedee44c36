import test from 'ava';
import { spawnSync } from 'node:child_process';
import { join, sep } from 'node:path';
import { typescript } from './typescript';

test('stacks tell places in the sources, also of what is kept, and modules can be imported', (t) => {
  const file = join(__dirname, 'children', 'stack.ts');
  for (let run = 0; run < 3; run++) {
    const { stdout, stderr } = spawnSync(process.execPath, [typescript, file], { encoding: 'utf8' });
    t.is(stderr, '');
    const told = JSON.parse(stdout) as { sep: string; stack: string };
    t.is(told.sep, sep);
    t.true(told.stack.includes(`fail (${file}:8:9)`), told.stack);
    t.true(told.stack.includes(`main (${file}:14:5)`), told.stack);
  }
});
