import test from 'ava';
import { withWarnings } from '../../lib/cli/early-warnings';
import type { ProgressStyle } from '../../lib/cli/progress';
import { quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import { warn } from '../../lib/warning-codes';
import { files, float, network, random } from '../models/networks';

function watched(progress: ProgressStyle, wait: number, quiet = false) {
  const written: string[] = [];
  const stderr = { write: (text: string) => (written.push(text), true) };
  const display = { show: () => void written.push('bar\n'), stop: () => void written.push('away\n') };
  const paint = (_: unknown, text: string) => text;
  const all = withWarnings(display, { stderr }, { paint }, { quiet, progress }, wait);
  return { all, text: () => written.join('') };
}

const few = warn('WARN_VERTEXQ_FEW_ROWS', 'few');
const other = warn('WARN_VERTEXQ_NO_HOLDOUT', 'none');
const step = { stage: 'quantize', done: 1, total: 2 } as const;

test('issue 21 item 6, ux 24: of a long run each kind of warning is shown at once, the first of its kind', (t) => {
  const { all, text } = watched('auto', 0);
  all.onWarning(other);
  all.show(step);
  all.onWarning(few, 'a\u001b');
  all.onWarning(few, 'b');
  t.is(text(), `away\nwarning: ${other}\nbar\naway\nwarning: a\\x1b: ${few}\n`);
});

test('issue 21 item 6, ux 24: a short run has them at its end alone, and none are shown where nothing is to be', (t) => {
  for (const { all, text } of [watched('auto', 1e6), watched('none', 0), watched('lines', 0, true)]) {
    all.onWarning(few, 'a');
    all.show(step);
    all.stop();
    t.is(text(), 'bar\naway\n');
  }
});

test('issue 21 item 6, ux 24: as objects all come at once', (t) => {
  const { all, text } = watched('json', 1e6);
  all.onWarning(other);
  all.onWarning(few, 'a');
  const objects = text()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  t.like(objects[0], { event: 'warning', code: 'WARN_VERTEXQ_NO_HOLDOUT', warning: other });
  t.false('layer' in objects[0]!);
  t.like(objects[1], { event: 'warning', code: 'WARN_VERTEXQ_FEW_ROWS', warning: few, layer: 'a' });
});

test('issue 21 item 6, ux 24: warnings of data come before the first layer, those of a layer when it is fitted', async (t) => {
  const { input, output } = files(
    t,
    network({
      nodes: [node('MatMul', ['x', 'w'], ['h']), node('MatMul', ['h', 'v'], ['y'])],
      constants: [tensor('w', [64, 48], random(64 * 48, 1)), tensor('v', [48, 8], random(48 * 8, 2))],
      inputs: [float('x', ['batch', 64])],
      outputs: [float('y', ['batch', 8])],
    }),
  );
  const events: string[] = [];
  const { warnings, layers } = await quantizeModel(input, output, {
    calibration: { x: { data: random(64 * 20, 3), dims: [20, 64], type: 'float32' } },
    skipBroken: true, // without effect
    onProgress: ({ stage, layer }) => void events.push(`${stage} ${layer ?? ''}`),
    onWarning: (warning, layer) => void events.push(`${layer ?? ''}: ${warning}`),
  });
  t.true(warnings.length > 0);
  for (const warning of warnings) {
    const at = events.indexOf(`: ${warning}`);
    t.true(at >= 0 && at < events.findIndex((event) => event.startsWith('quantize ')), warning);
  }
  t.is(layers.length, 2);
  for (const { name, warnings: own } of layers) {
    t.true(own.length > 0, name);
    for (const warning of own) t.true(events.includes(`${name}: ${warning}`), warning);
  }
  const told = events.filter((event) => event.includes('WARN_'));
  t.is(told.length, warnings.length + layers.reduce((sum, { warnings: own }) => sum + own.length, 0));
});
