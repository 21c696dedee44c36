import test from 'ava';
import { quantizationFiles, quantizationKeyOf } from '../../../lib/checkpoints/model-config';
import { quantizedIn } from '../../../lib/checkpoints/quantized-already';
import type { Scheme } from '../../../lib/encodings/encoding';
import { checkpointFormats, namesOf } from '../../../lib/encodings/names';
import { isByRows, partName, rangesOfRows } from '../../../lib/encodings/safetensors/layout';
import { checkpointEncodings } from '../../../lib/encodings/safetensors/table';
import { floatDtypes } from '../../../lib/containers/safetensors/dtypes';
import { openCheckpoint } from '../../../lib/containers/safetensors/checkpoint';
import { planCheckpoint, quantizeCheckpoint } from '../../../lib/index';
import { inspectCheckpoint } from '../../../lib/checkpoints/inspect-checkpoint';
import { smallModel, writeFolder } from '../../checkpoints/make';
import { temporaryFolder } from '../../files/temporary-folder';
import { join } from 'node:path';
import { Turns } from '../../../lib/yielding';

const schemes: Scheme[] = ([2, 3, 4, 5, 8] as const).flatMap((bits) =>
  (['integer', 'asymmetric', 'zero-free', 'full-range'] as const).flatMap((grid) =>
    [16, 96].map((groupSize) => ({ bits, levels: 2 ** bits, grid, groupSize })),
  ),
);

for (const format of namesOf(checkpointFormats)) {
  const encoding = checkpointEncodings[format];
  // Whose weights' types say what they hold.
  if (encoding.mix) continue;

  test(`${format}: what it holds falls into parts of rows, without gaps`, (t) => {
    let held = 0;
    for (const scheme of schemes)
      for (const rows of [32, 64, 96, 1, 33, 40, 416]) {
        const shape = [rows, 96] as const;
        try {
          encoding.check(scheme);
        } catch (error) {
          t.true(error instanceof RangeError);
          continue;
        }
        if (encoding.unfit(shape, scheme) !== undefined) continue;
        held++;
        for (const dtype of floatDtypes) {
          const layout = encoding.layout(shape, dtype, scheme);
          const { parts, constants } = layout;
          for (const { part, data } of constants) t.is(data().length, part.byteLength);
          const at = parts.map(() => 0);
          const step = isByRows(layout) ? 32 : rows;
          for (let begin = 0; begin < rows; begin += step) {
            const ranges = rangesOfRows(layout, rows, begin, Math.min(rows, begin + step));
            t.is(ranges.length, parts.length);
            for (const [i, range] of ranges.entries()) {
              if (range.length > 0) t.is(range.begin, at[i]!);
              at[i]! += range.length;
            }
          }
          const lengths = parts.map(({ byteLength }) => byteLength);
          t.deepEqual(at, lengths);
          t.is(
            layout.byteLength,
            lengths.reduce((sum, length) => sum + length, 0),
          );
          t.is(new Set(parts.map((part) => partName('a.b.weight', part))).size, parts.length);
        }
      }
    t.true(held > 0);
  });

  // What is no checkpoint.
  if (encoding.network) continue;

  test(`${format}: a checkpoint in it is known as quantized, by its tensors, its config and its files`, async (t) => {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out')];
    writeFolder(input, smallModel());
    const { layers } = await quantizeCheckpoint(input, output, { format, groupSize: 32 });
    const checkpoint = await openCheckpoint(output);
    t.teardown(() => checkpoint.close());
    const { quantization } = await inspectCheckpoint(output);
    if (encoding.isPlain) {
      t.deepEqual((await quantizedIn(checkpoint)).found, []);
      t.is(quantization, null);
      t.deepEqual(
        [encoding.config([], [], new Turns()), encoding.configFile, encoding.found],
        [null, null, null],
      );
      return;
    }
    t.is((await quantizedIn(checkpoint)).found.length, layers.length);
    t.is(quantization?.method, encoding.found?.method);
    t.deepEqual(
      quantization?.weights
        .map(({ name, shape, bits, groupSize }) => ({ name, shape, bits, groupSize }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
      layers
        .map(({ name, shape, bits, groupSize }) => ({ name, shape, bits, groupSize }))
        .sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
    const config = await encoding.config([['a.weight', schemes[0]!]], [], new Turns());
    t.truthy(quantizationKeyOf({ quantization_config: config }));
    if (encoding.configFile !== null) t.true(quantizationFiles.includes(encoding.configFile));
    await t.throwsAsync(planCheckpoint(output, join(folder, 'again')), { code: 'ERR_VERTEXQ_UNSUPPORTED' });
  });
}
