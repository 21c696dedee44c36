import test from 'ava';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint, quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { cases, weightsIn, writeModel } from './tiny';

const golden = cases.find(({ name }) => name === 'llama')!;
const ids = Array.from({ length: 24 }, (_, i) =>
  Array.from({ length: 14 }, (_, j) => (i * i + 3 * j * j + i * j) % 40),
);
const calibration = {
  input_ids: { data: BigInt64Array.from(ids.flat(), BigInt), dims: [24, 14], type: 'int64' },
};

for (const [format, file] of [
  ['compressed-tensors', 'model.safetensors'],
  ['onnx', join('onnx', 'model_q4.onnx')],
] as const)
  test(`a language model as ${format}: no passes where there is no time, as with effort 0`, async (t) => {
    const folder = join(temporaryFolder(t), 'model');
    mkdirSync(folder);
    writeModel(folder, golden.config, weightsIn(golden), 'BF16');
    const run = async (name: string, options: CheckpointOptions) => {
      const output = join(temporaryFolder(t), name);
      const { layers, warnings } = await quantizeCheckpoint(folder, output, { format, bits: 4, groupSize: 16, calibration, threads: 1, ...options }); // prettier-ignore
      const bytes = readFileSync(join(output, file)).toString('latin1');
      const over = warnings.filter((text) => text.includes('WARN_VERTEXQ_OVER_TIME')).length;
      // But for what it says of its options.
      const codes = bytes.slice(bytes.length >> 1);
      // Layers that fell back to plain rounding make none.
      return { passes: layers.flatMap(({ passes }) => passes ?? []), over, codes };
    };
    const none = await run('none', { time: 1e-6 });
    t.deepEqual([new Set(none.passes), none.over], [new Set([0]), 1]);
    const walk = await run('walk', { effort: 0 });
    t.is(none.codes.length > 0 && walk.over, 0);
    if (format !== 'compressed-tensors') return;
    t.is(none.codes, walk.codes);
    const { seconds } = await planCheckpoint(folder, join(temporaryFolder(t), 'planned'), { calibration, time: 3600 }); // prettier-ignore
    t.true(seconds! >= 3600);
  });

test('a language model: a time for a run that has no passes is refused', async (t) => {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, golden.config, weightsIn(golden), 'BF16');
  const out = join(temporaryFolder(t), 'out');
  for (const [options, message] of [
    [{ time: 60 }, /"time" option is about fits to "calibration" data/],
    [{ time: 60, calibration, effort: 2 }, /"time" and "effort" exclude each other/],
    [{ time: 60, calibration, method: 'gptq' }, /the method "gptq" makes no passes/],
  ] as [CheckpointOptions, RegExp][])
    await t.throwsAsync(quantizeCheckpoint(folder, out, options), { message });
});
