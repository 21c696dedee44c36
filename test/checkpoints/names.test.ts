import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { matcher } from '../../lib/globs';
import { inspectCheckpoint, planCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
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
  const started = performance.now();
  await inspectCheckpoint(file);
  await planCheckpoint(file, join(folder, 'out'), {
    ...{ format: 'float', layers: ['*e*e*e*e*x0?.weight', '*a*.*w*.*e*'], skip: '*z*z*z*z*' + '*'.repeat(0) },
  }).catch((error: Error) => t.regex(error.message, /matches no tensor/));
  t.true(performance.now() - started < 20_000); // 2.3 s of a core that is free
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
