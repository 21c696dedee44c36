import test from 'ava';
import { join } from 'node:path';
import { checkpointFormats } from '../../../lib/encodings/names';
import type { CheckpointEncoding } from '../../../lib/encodings/safetensors/encoding';
import { float } from '../../../lib/encodings/safetensors/float';
import { layoutOfParts, part } from '../../../lib/encodings/safetensors/layout';
import { checkpointEncodings } from '../../../lib/encodings/safetensors/table';
import { foundIn } from '../../../lib/encodings/safetensors/unpack';
import { entryOf } from '../../../lib/containers/safetensors/checkpoint';
import {
  type CheckpointOptions,
  inspectCheckpoint,
  quantizeCheckpoint,
  verifyCheckpoint,
} from '../../../lib/index';
import { smallModel, writeFolder } from '../../checkpoints/make';
import { floats, readAll } from '../../checkpoints/unpack';
import { temporaryFolder } from '../../files/temporary-folder';

const scheme = { bits: 8, levels: 256, grid: 'integer' } as const;

/** A byte a code, with 128 for 0, and a scale a neuron. */
const bytes: CheckpointEncoding = {
  ...float,
  isPlain: false,
  gridFor: () => 'integer',
  check({ bits }) {
    if (bits !== 8) throw new RangeError(`The format "bytes" holds 8 bits, not ${bits}`);
  },
  unfit: ([, inFeatures], { groupSize }) => (groupSize < inFeatures ? 'it has groups' : undefined),
  layout: (shape) =>
    layoutOfParts({
      packing: { order: 'neuron-major', outType: 'F32', zeroShift: 0 },
      stored: { scales: 'F32', values: null },
      codes: part('.weight_quantized', 'U8', shape),
      scales: part('.weight_scale', 'F32', [shape[0]]),
      ...{ zeroPoints: null, constants: [] },
    }),
  config: (weights) => ({
    quant_method: 'bytes',
    version: 'one',
    left: weights.filter(([, scheme]) => scheme === null).length,
  }),
  warnings: () => ['Nothing reads these bytes. [WARN_VERTEXQ_READER]'],
  found: {
    ...{ method: 'bytes', formatKey: 'version', codes: '.weight_quantized' },
    weightOf(checkpoint, name) {
      const shape = entryOf(checkpoint, `${name}.weight_quantized`)!.shape as [number, number];
      const layout = bytes.layout(shape, 'F32', { ...scheme, groupSize: shape[1] });
      const told = { shape, bits: 8, groupSize: shape[1], symmetric: true };
      return foundIn(checkpoint, name, layout, told, '');
    },
  },
};

test('a new encoding is its name, its row and nothing else', async (t) => {
  Object.assign(checkpointFormats, { bytes: 'a byte a code' });
  Object.assign(checkpointEncodings, { bytes });
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel('F32'));
  const options = { format: 'bytes' } as unknown as CheckpointOptions;

  await t.throwsAsync(quantizeCheckpoint(input, output, { ...options, bits: 4 }), {
    instanceOf: RangeError,
    message: 'The format "bytes" holds 8 bits, not 4',
  });
  const report = await quantizeCheckpoint(input, output, { ...options, bits: 8 });
  t.is(report.format, 'bytes');
  t.true(report.warnings.includes('Nothing reads these bytes. [WARN_VERTEXQ_READER]'));

  const { quantization } = await inspectCheckpoint(output);
  t.is(quantization?.method, 'bytes');
  t.is(quantization?.format, 'one');
  t.deepEqual(
    quantization?.weights.map(({ name }) => name).sort(),
    report.layers.map(({ name }) => name).sort(),
  );

  const verified = await verifyCheckpoint(output, input);
  t.deepEqual(verified.faults, []);
  t.is(verified.weights.length, report.layers.length);

  // The bytes are the values that the format "float" has.
  await quantizeCheckpoint(input, `${output}-float`, { format: 'float', grid: 'integer', bits: 8 });
  const [packed, plain] = [(await readAll(output)).tensors, (await readAll(`${output}-float`)).tensors];
  const read = (tensors: typeof packed, name: string) => floats(tensors.get(name)!.bytes, 'F32');
  for (const { name, shape } of report.layers) {
    const codes = packed.get(`${name}.weight_quantized`)!.bytes;
    const scales = read(packed, `${name}.weight_scale`);
    const values = read(plain, `${name}.weight`);
    t.is(codes.length, shape[0] * shape[1]);
    t.true(
      values.every(
        (value, i) => value === Math.fround((codes[i]! - 128) * scales[Math.floor(i / shape[1])]!),
      ),
    );
  }
});
