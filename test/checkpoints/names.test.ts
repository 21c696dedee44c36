import test from 'ava';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { matcher } from '../../lib/globs';
import { inspectCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { typescript } from '../typescript';
import { fileOf, tensor } from './make';

test('trust 9: time does not grow with the square of a name', async (t) => {
  const file = join(temporaryFolder(t), 'in.safetensors');
  for (const name of [
    `${'embed'.repeat(8_000)}.x.weight`,
    `${'norm.'.repeat(8_000)}weight`,
    `${'embeddings'.repeat(4_000)}x.weight`,
  ]) {
    writeFileSync(file, fileOf({ [name]: tensor('F32', [8, 8], 1), 'a.weight': tensor('F32', [8, 8], 1) }));
    const started = performance.now();
    await t.throwsAsync(inspectCheckpoint(file), {
      code: 'ERR_VERTEXQ_SAFETENSORS',
      message: /has a name of \d+ characters, and at most 4096 are allowed/,
    });
    t.true(performance.now() - started < 1000, name.slice(0, 10));
  }
});

test('trust 9: the longest names are looked at in a moment', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'in.safetensors');
  const names = ['embed', 'norm.', 'wte', 'q_proj.experts.', 'rotary', 'a.weight.'].flatMap((part, i) =>
    Array.from(
      { length: 400 },
      (_, j) => `${part.repeat(4070 / part.length).slice(0, 4070)}.x${i}${j}.weight`,
    ),
  );
  writeFileSync(file, fileOf(Object.fromEntries(names.map((name) => [name, tensor('F32', [1, 1], 1)]))));
  // Seconds of processor in a process of its own: other tests do not count.
  const script = `
    const { inspectCheckpoint, planCheckpoint } = require('./lib/index.ts');
    const [file, out] = ${JSON.stringify([file, join(folder, 'out')])};
    const layers = ['*e*e*e*e*x0?.weight', '*a*.*w*.*e*'];
    const before = process.cpuUsage();
    inspectCheckpoint(file)
      .then(() => planCheckpoint(file, out, { format: 'float', layers, skip: '*z*z*z*z*' }))
      .catch((error) => console.log(error.message.slice(0, 200)))
      .finally(() => {
        const { user, system } = process.cpuUsage(before);
        console.log((user + system) / 1e6);
      });`;
  // The test beside this one measures time by the clock: it is not held up.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [typescript, '-e', script], {
    cwd: join(__dirname, '..', '..'),
  });
  t.regex(stdout, /matches no tensor/, stderr);
  t.true(Number(stdout.trim().split('\n').at(-1)) < 5, stdout);
});

// A guard: 0.1.0 passes it.
test('trust 9: globs of stars and question marks mean what they did', (t) => {
  for (const [glob, name, expected] of [
    ['*', 'a.b/c', true],
    ['*q_proj', 'model.layers.0.q_proj', true],
    ['*q_proj', 'model.layers.0.q_proj.weight', false],
    ['*.0.*proj', 'model.layers.0.self_attn.q_proj', true],
    ['*.0.*proj', 'model.layers.10.self_attn.q_proj', false],
    ['a?c', 'abc', true],
    ['a?c', 'a/c', false],
    ['a?c', 'ac', false],
    ['ab*ba', 'aba', false],
    ['*a*a*', 'ba', false],
    ['*.[qk]_proj', 'x.k_proj', true],
    ['{a,b}.c', 'b.c', true],
    ['!a', 'b', true],
    ['a+b', 'aab', false],
  ] as const)
    t.is(matcher([glob])(name), expected, `${glob} ${name}`);
});
