import test from 'ava';
import { LayerRows } from '../../lib/fit/layer-rows';
import { quantizeGroups } from '../../lib/fit/quantize-groups';
import { sharedCopyNow } from '../../lib/native/shared';
import { RowCapture } from '../../lib/traversal/captured-rows';
import { holdUps } from '../event-loop';
import { random } from '../models/networks';
import { layerOf, MemorySource, width } from './memory-network';

const options = { method: 'gptq', bits: 3, grid: 'integer', groupSize: 4, threads: 1 } as const;
const layer = layerOf('layer', new MemorySource(1), options);
/** Several parts, the last of them short and no whole slice. */
const count = 2 ** 18 + 1000;
const tensor = (data: Float32Array) => ({ data, dims: [data.length / width, width], type: 'float32' });
const capture = () => new RowCapture('x', [layer], { kindOf: () => 'pairs' }, false, { threads: 1 });

test('many rows are added in parts: the codes are those of all at once', async (t) => {
  const [seen, float] = [random(count * width, 2), random(count * width, 3)];
  const rows = capture();
  await rows.add(tensor(seen), tensor(float), 'calibration', 1, undefined);
  const { calibration } = rows.rowsOf(layer)!;
  t.is(calibration.samples, count);
  const shape = { weight: layer.source.values, outFeatures: width, inFeatures: width };
  const fitTo = (data: LayerRows) =>
    quantizeGroups({ ...layer, ...shape, calibration: data, holdout: null }, 1, layer.settings, {
      threads: 1,
    });
  const inParts = await fitTo(calibration);
  // What is in shared memory is added at once.
  const atOnce = LayerRows.of(width, 'pairs', { threads: 1 });
  await atOnce.add(sharedCopyNow(seen), sharedCopyNow(float));
  const whole = await fitTo(atOnce);
  t.deepEqual(inParts.codes, whole.codes);
  t.is(inParts.report.error.calibration, whole.report.error.calibration);
});

test('a number that is none is told by its row among all of them', async (t) => {
  const seen = new Float32Array(count * width);
  const row = count - 7;
  seen[row * width + 5] = NaN;
  await t.throwsAsync(capture().add(tensor(seen), tensor(seen), 'calibration', 1, undefined), {
    code: 'ERR_VERTEXQ_NOT_FINITE',
    message: new RegExp(`activation at sample ${row}, input 5 is NaN`),
  });
});

test('trust item 4: many rows leave the event loop free', async (t) => {
  const seen = tensor(new Float32Array(2 ** 20 * width).fill(1));
  const tries: string[] = [];
  for (let i = 0; i < 3; i++) {
    const { longest, total } = await holdUps(() => capture().add(seen, seen, 'calibration', 1, undefined));
    tries.push(`${longest.toFixed()} of ${total.toFixed()} ms`);
    if (longest < 0.2 * total) {
      t.pass(tries.join(', '));
      return;
    }
  }
  t.fail(tries.join(', '));
});
