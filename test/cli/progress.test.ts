import test from 'ava';
import type { Progress } from '../../lib/types';
import { sampleReport } from '../reports/samples';
import { type FakeContext, runFake } from './fake';

const steps: Progress[] = [
  { stage: 'capture', layer: 'a', layerIndex: 0, layerCount: 2, done: 1, total: 2 },
  { stage: 'quantize', layer: 'a', layerIndex: 0, layerCount: 2, done: 1, total: 4, share: 0.2 },
  { stage: 'quantize', layer: 'a', layerIndex: 0, layerCount: 2, done: 2, total: 4, share: 0.3 },
  { stage: 'quantize', layer: 'b\u001b', layerIndex: 1, layerCount: 2, done: 1, total: 4, share: 0.7 },
];

const withSteps: FakeContext = {
  quantizeModel: (input, output, { onProgress }) => {
    for (const step of steps) onProgress!(step);
    return Promise.resolve(sampleReport({ input, output }));
  },
};

const quantize = (...flags: string[]) => runFake(['quantize', 'm.onnx', '-o', 'q.onnx', ...flags], withSteps);

test('issue 21 item 6: off a terminal each line of progress has its time', async (t) => {
  const { stderr } = await quantize();
  const lines = stderr.split('\n').filter((line) => / layer \d\/2: /.test(line));
  t.is(lines.length, 2, stderr);
  for (const line of lines) t.regex(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ layer [12]\/2: /);
});

test('issue 21 item 6: --progress json writes an object a line, one for each stage of a layer', async (t) => {
  const { stderr, code } = await quantize('--progress', 'json');
  t.is(code, 0);
  const objects = stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Progress & { time: string; event: string });
  t.deepEqual(
    objects.map(({ stage, layer }) => [stage, layer]),
    [['capture', 'a'], ['quantize', 'a'], ['quantize', 'b\u001b']], // prettier-ignore
  );
  t.like(objects[2], { event: 'progress', layerIndex: 1, layerCount: 2, done: 1, total: 4, share: 0.7 });
  for (const { time } of objects) t.is(new Date(time).toISOString(), time);
});

test('issue 21 item 6: --progress none and --quiet write none; other values are refused', async (t) => {
  t.false((await quantize('--progress', 'none')).stderr.includes('layer 1/2'));
  t.is((await quantize('--progress', 'json', '--quiet')).stderr, '');
  const odd = await quantize('--progress', 'xml');
  t.is(odd.code, 2);
  t.regex(odd.stderr, /auto, lines, json, none/);
});

test('ux 5: the table of layers is shown off a terminal too', async (t) => {
  const { stderr } = await quantize();
  t.regex(stderr, /^layer +shape +method/m);
});

test('ux 16: a model that an option took for one of its values is told, with the way out', async (t) => {
  const { code, stderr } = await runFake([
    'quantize',
    '--calibration',
    'few.npz',
    'model.onnx',
    '-o',
    'x.onnx',
  ]);
  t.is(code, 2);
  t.is(
    stderr,
    `vertexq: missing required argument 'model': the command line takes "model.onnx" for a value of --calibration, which ends at the next option. Give the model first\n`,
  );
  t.false((await runFake(['quantize', '--calibration', 'few.npz', '-o', 'x.onnx'])).stderr.includes('takes'));
});
