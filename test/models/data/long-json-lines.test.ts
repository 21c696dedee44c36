import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { prepareCalibrationSet, type ModelInput } from '../../../lib/models/calibration-set';
import { temporaryFolder } from '../../files/temporary-folder';

// Files of JSON lines that are read in a process of their own.

const inputs: ModelInput[] = [
  { name: 'x', type: 'float32', dims: ['batch', 3] },
  { name: 'id', type: 'int64', dims: ['batch'] },
];
const count = 20_000;
const lines = Array.from({ length: count }, (_, i) => JSON.stringify({ x: [i, i / 2, 1 - i], id: [i] }));

// A guard: 0.1.0 passes it.
test('long files of JSON lines: every sample, in order; a line that is wrong is named', async (t) => {
  const path = join(temporaryFolder(t), 'x.jsonl');
  writeFileSync(path, lines.join('\n'));
  const { fit, samples } = await prepareCalibrationSet(path, { inputs, holdout: 0, batchSize: count });
  t.deepEqual(samples, { fit: count, holdout: 0 });
  t.deepEqual(fit[0]!['id'], {
    data: BigInt64Array.from(lines, (_, i) => BigInt(i)),
    dims: [count],
    type: 'int64',
  });
  t.deepEqual(fit[0]!['x']!.data, Float32Array.from(lines.flatMap((_, i) => [i, i / 2, 1 - i])));
  writeFileSync(path, [...lines, '{"x": [1, 2, "a"], "id": [1]}'].join('\n'));
  await t.throwsAsync(prepareCalibrationSet(path, { inputs }), {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: new RegExp(`x\\.jsonl, line ${count + 1}: the input "x" should have finite numbers`),
  });
});

test('trust, off the main thread: an abort ends the reading of a line of many megabytes', async (t) => {
  const path = join(temporaryFolder(t), 'x.jsonl');
  writeFileSync(path, `{"x": [${'[1,2,3],'.repeat(5_000_000)}[1,2,3]], "id": [1]}`);
  const controller = new AbortController();
  const reason = new Error('enough');
  const reading = t.throwsAsync(prepareCalibrationSet(path, { inputs, signal: controller.signal }), {
    is: reason,
  });
  await new Promise((resolve) => setTimeout(resolve, 700));
  const from = performance.now();
  controller.abort(reason);
  await reading;
  t.true(performance.now() - from < 500);
});
