import test from 'ava';
import { join } from 'node:path';
import { modelFormats, namesOf } from '../../../lib/encodings/names';
import { modelEncodings } from '../../../lib/encodings/onnx/table';
import { type ModelOptions, quantizeModel } from '../../../lib/index';
import { node, tensor } from '../../../lib/containers/onnx/make';
import { TensorProto_DataType as DataType } from '../../../lib/containers/onnx/onnx_pb';
import { difference, feed, files, network, random, run } from '../../models/networks';

const schemes: Pick<ModelOptions, 'bits' | 'levels' | 'grid' | 'groupSize'>[] = [
  ...([2, 3, 4, 5, 8] as const).flatMap((bits) =>
    (['integer', 'asymmetric', 'zero-free', 'full-range'] as const).flatMap((grid) =>
      ([16, 24, 'channel'] as const).map((groupSize) => ({ bits, grid, groupSize })),
    ),
  ),
  { levels: 3 },
  { levels: 6, grid: 'full-range' },
];

/** Two products and a convolution, so that every row needs more than one operator. */
const model = () =>
  network({
    nodes: [
      node('MatMul', ['x', 'w'], ['h']),
      node('Unsqueeze', ['h', 'axes'], ['image']),
      node('Conv', ['image', 'k'], ['c']),
      node('Squeeze', ['c', 'axes'], ['s']),
      node('Gemm', ['s', 'v'], ['y'], { attributes: { transB: 1n } }),
    ],
    constants: [
      tensor('w', [40, 48], random(40 * 48, 1)),
      tensor('axes', [2], BigInt64Array.of(0n, 1n)),
      tensor('k', [1, 1, 1, 1], random(1, 3)),
      tensor('v', [8, 48], random(8 * 48, 2)),
    ],
  });

test('each row refuses a scheme before any work, or the network gives what it gives in the format "float"', async (t) => {
  const { input, output } = files(t, model());
  const x = feed([6, 40], 4);
  let compared = 0;
  for (const options of schemes) {
    const told = JSON.stringify(options);
    await quantizeModel(input, output, { ...options, format: 'float' });
    const { y: expected } = await run(output, x);
    for (const format of namesOf(modelFormats)) {
      const made = join(output, '..', `${format}.onnx`);
      const failed = await quantizeModel(input, made, { ...options, format }).then(
        () => undefined,
        (error: unknown) => error as Error,
      );
      if (failed) {
        t.true(failed instanceof RangeError, `${format} ${told}: ${failed.message}`);
        t.regex(failed.message, /use the |choose one/, `${format} ${told}`);
        continue;
      }
      const { y } = await run(made, x);
      t.true(difference(expected!, y!) < 1e-5, `${format} ${told}`);
      compared++;
    }
  }
  t.log(compared, 'of', 3 * schemes.length);
  t.true(compared > 2.4 * schemes.length);
});

test('layers of another type stay with each row but the plain one, which says so', async (t) => {
  const weight = { ...tensor('w', [40, 48], Float64Array.from(random(40 * 48, 1))) };
  t.is(weight.dataType, DataType.DOUBLE);
  const other = network({
    nodes: [
      node('MatMul', ['x', 'v'], ['h']),
      node('Cast', ['h'], ['d'], { attributes: { to: BigInt(DataType.DOUBLE) } }),
      node('MatMul', ['d', 'w'], ['e']),
      node('Cast', ['e'], ['y'], { attributes: { to: BigInt(DataType.FLOAT) } }),
    ],
    constants: [tensor('v', [40, 40], random(1600, 2)), weight],
  });
  const { input, output } = files(t, other);
  for (const format of namesOf(modelFormats)) {
    const { layers, skipped } = await quantizeModel(input, join(output, '..', `${format}.onnx`), { format });
    const { isPlain } = modelEncodings[format];
    t.is(layers.length, isPlain ? 2 : 1);
    t.deepEqual(
      skipped.map(({ reason }) => reason),
      isPlain
        ? []
        : [`its weight is DOUBLE: the format "${format}" holds float32 and float16, "float" the others`],
    );
  }
});
