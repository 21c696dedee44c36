import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../files/temporary-folder';
import { runFake } from './fake';

for (const [what, args, name] of [
  ['sensitivity -o', ['sensitivity', 'in.onnx', '--calibration', 'a.npz', '-o'], 'sensitivity.json'],
  ['compare --plot', ['compare', 'in.onnx', '--calibration', 'a.npz', '--plot'], 'errors.svg'],
  ['quantize --report', ['quantize', 'in.onnx', '-o', '/nowhere/out.onnx', '--report'], 'report.json'],
  ['quantize --dry-run --report', ['quantize', 'in.onnx', '-o', '/nowhere/out.onnx', '--dry-run', '--report'], 'plan.json'], // prettier-ignore
] as const)
  test(`${what}: a file that is there stops the run before any work, unless it may be replaced`, async (t) => {
    const path = join(temporaryFolder(t), name);
    t.is((await runFake([...args, path])).code, 0);
    const written = readFileSync(path, 'utf8');
    t.true(written.length > 10);

    writeFileSync(path, 'my own');
    const stopped = await runFake([...args, path]);
    t.is(stopped.code, 4);
    t.deepEqual(stopped.calls, []);
    t.regex(stopped.stderr, /is there already: give --overwrite to replace it \[ERR_VERTEXQ_EXISTS\]/);
    t.is(readFileSync(path, 'utf8'), 'my own');

    t.is((await runFake([...args, path, '--overwrite'])).code, 0);
    t.not(readFileSync(path, 'utf8'), 'my own');
  });

for (const [what, args] of [
  ['sensitivity -o', ['sensitivity', 'in.onnx', '--calibration', 'DATA', '-o', 'DATA']],
  [
    'quantize --report',
    ['quantize', 'in.onnx', '-o', 'out.onnx', '--calibration', 'DATA', '--report', 'DATA'],
  ],
] as const)
  test(`${what}: a name that is an input's is refused as such, and --overwrite is not asked for`, async (t) => {
    const path = join(temporaryFolder(t), 'data.npz');
    writeFileSync(path, 'data');
    const { code, stderr } = await runFake(args.map((arg) => (arg === 'DATA' ? path : arg)));
    t.is(code, 2);
    t.regex(stderr, /is the input: give it another name/);
    t.notRegex(stderr, /--overwrite/);
  });
