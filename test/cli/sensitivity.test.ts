import test from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../files/temporary-folder';
import { layer, sampleSensitivity } from '../sensitivity/sample';
import { runFake } from './fake';

test('the table on stdout, layers that change most first; with --json all of it there; a file that --sensitivity takes', async (t) => {
  const found = sampleSensitivity([layer('small', 64, 1), layer('large', 32, 3)]);
  found.unmeasured.push({ name: 'rnn', reason: 'the products are inside of its LSTM' });
  const measureSensitivity = () => Promise.resolve(found);
  const output = join(temporaryFolder(t), 's.json');
  const args = ['sensitivity', 'in.onnx', '--calibration', 'a.npz', '--group-size', '32'];
  const { code, stdout, calls } = await runFake([...args, '-o', output], { measureSensitivity });
  t.is(code, 0);
  const { calibration, groupSize } = calls[0]!.measured as Record<string, unknown>;
  t.deepEqual([calibration, groupSize], ['a.npz', 32]);
  t.regex(
    stdout,
    /net: 2 layers, each alone in each width: KL divergence in nats \(estimated, 10 rows of outputs\)/,
  );
  t.true(stdout.indexOf('large') < stdout.indexOf('small'));
  t.regex(stdout, /2 bits +3 bits +4 bits +8 bits/);
  t.regex(stdout, /not measured: rnn: the products are inside of its LSTM/);
  t.notRegex(stdout, /left/);
  t.deepEqual(JSON.parse(readFileSync(output, 'utf8')), found);
  const json = await runFake([...args, '--json'], { measureSensitivity });
  t.deepEqual(JSON.parse(json.stdout), found);
  found.layers[0]!.left = 0.625;
  const shared = (await runFake(args, { measureSensitivity })).stdout;
  t.regex(shared, /small .* 63 %/);
  t.regex(shared, /left: of all of a layer's changes, in a run that corrects errors/);
});

test('flags of the other kind of input, an output that cannot be written', async (t) => {
  const base = ['--calibration', 'a.txt'];
  t.is((await runFake(['sensitivity', 'in.safetensors', ...base, '--operators', 'MatMul'])).code, 2);
  t.is((await runFake(['sensitivity', 'in.onnx', ...base, '--bits', '4'])).code, 2);
  const { code, calls } = await runFake(['sensitivity', 'in.onnx', ...base, '-o', '/nowhere/s.json']);
  t.is(code, 1);
  t.deepEqual(calls, []);
});

test('--target-size in the units that sizes are shown in', async (t) => {
  for (const [text, bytes] of [
    ['20MB', 20e6],
    ['2.4GB', 2.4e9],
    ['1.5MiB', 1.5 * 2 ** 20],
    ['1000', 1000],
    ['3k', 3000],
  ] as const) {
    const { calls } = await runFake([
      'quantize',
      'in.onnx',
      '-o',
      'out.onnx',
      '--calibration',
      'a.npz',
      '--target-size',
      text,
    ]);
    t.is(calls[0]!.options!.targetSize, bytes);
  }
  t.is((await runFake(['quantize', 'in.onnx', '-o', 'out.onnx', '--target-size', 'much'])).code, 2);
  t.is((await runFake(['quantize', 'in.onnx', '-o', 'out.onnx', '--target-size', '5i'])).code, 2);
});
