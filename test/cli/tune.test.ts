import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../files/temporary-folder';
import { runFake } from './fake';

// `vertexq tune`.

const base = ['tune', 'float', 'quantized', '--calibration', 'a.txt'];

test('gives the library what flags say, and tells of the divergence, of what stays and of warnings', async (t) => {
  const { code, calls, stdout } = await runFake([
    ...base,
    '-o',
    '/nowhere/out',
    '--rounds',
    '2',
    '--samples',
    '9',
  ]);
  t.is(code, 0);
  const { tuned, ...paths } = calls[0]!;
  t.like(paths, { input: 'float quantized', output: '/nowhere/out' });
  t.like(tuned, { calibration: 'a.txt', rounds: 2, samples: 9 });
  for (const told of ['0.27', '0.25', '1024 scales of 6 weights tuned', 'lm_head.weight (tokens', 'warning:'])
    t.true(stdout.includes(told), `${told} in ${stdout}`);
  const { stdout: json } = await runFake([...base, '-o', '/nowhere/out', '--json']);
  t.is((JSON.parse(json) as { scales: number }).scales, 1024);
});

test('needs an output and data, and replaces no file unasked', async (t) => {
  t.is((await runFake(base)).code, 2);
  t.is((await runFake(['tune', 'float', 'quantized', '-o', '/nowhere/out'])).code, 2);
  const file = join(temporaryFolder(t), 'out.safetensors');
  writeFileSync(file, '');
  const refused = await runFake([...base, '-o', file]);
  t.is(refused.code, 4);
  t.deepEqual(refused.calls, []);
  t.is((await runFake([...base, '-o', file, '--overwrite'])).code, 0);
  // An input is told as one, with or without.
  const input = await runFake(['tune', file, 'quantized', '--calibration', 'a.txt', '-o', file]);
  t.regex(input.stderr, /is the float model/);
  t.is(input.code, 2);
});
