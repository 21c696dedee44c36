import { create, toBinary } from '@bufbuild/protobuf';
import test from 'ava';
import fc from 'fast-check';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { quantizeModel, writeCalibrationSet } from '../../lib/index';
import { prepareCalibrationSet } from '../../lib/models/calibration-set';
import { node, tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation,
  TensorProto_DataType as DataType,
} from '../../lib/containers/onnx/onnx_pb';
import { runFake } from '../cli/fake';
import { runWhole } from '../cli/library';
import { temporaryFolder } from '../files/temporary-folder';
import { tokenizerJson } from './data/tokenizer';
import { files, float, network, random } from './networks';
import { sameBytes } from '../files/same-bytes';

// `vertexq calibrate`: what it writes is read as what it was made of.

/** A network of an input of each type; nothing is done with it but to read what its inputs are. */
const taking = (inputs: Record<string, [keyof typeof DataType, (string | number)[]]>) =>
  network({
    nodes: [node('MatMul', ['x', 'w'], ['y'])],
    constants: [tensor('w', [4, 3], random(12, 1))],
    inputs: Object.entries(inputs).map(([name, [type, dims]]) => valueInfo(name, DataType[type], dims)),
    outputs: [float('y', ['batch', 3])],
  });

const types = {
  x: ['FLOAT', ['batch', 4]],
  wide: ['DOUBLE', ['batch', 2]],
  half: ['FLOAT16', ['batch', 1]],
  ids: ['INT64', ['batch', 3]],
  small: ['INT8', ['batch', 2]],
  is: ['BOOL', ['batch', 1]],
} as Record<string, [keyof typeof DataType, (string | number)[]]>;

for (const ending of ['safetensors', 'jsonl'])
  test(`issue 21 item 8: ${ending}: arrays of any type are read as they were given, the same ones held out`, async (t) => {
    const { input } = files(t, taking(types));
    const inputs = Object.entries(types).map(([name, [type, dims]]) => ({
      name,
      type: { FLOAT: 'float32', DOUBLE: 'float64', FLOAT16: 'float16', INT64: 'int64', INT8: 'int8', BOOL: 'bool' }[type as string]!, // prettier-ignore
      dims: dims.map((dim) => (typeof dim === 'string' ? null : dim)),
    }));
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 40 }), fc.nat(1000), async (samples, seed) => {
        const numbers = (width: number) => random(samples * width, seed);
        const calibration = {
          x: { data: numbers(4), dims: [samples, 4], type: 'float32' },
          wide: { data: Float64Array.from(numbers(2), (one) => one / 3), dims: [samples, 2], type: 'float64' },
          half: { data: Uint16Array.from(numbers(1), (one) => Math.floor(Math.abs(one) * 15000)), dims: [samples, 1], type: 'float16' },
          ids: { data: BigInt64Array.from([...numbers(3)], (one) => BigInt(Math.round(one * 1e6)) * 10n ** 12n), dims: [samples, 3], type: 'int64' },
          small: { data: Int8Array.from(numbers(2), (one) => one * 80), dims: [samples, 2], type: 'int8' },
          is: { data: Uint8Array.from(numbers(1), (one) => Number(one > 0)), dims: [samples, 1], type: 'bool' },
        }; // prettier-ignore
        const output = join(input, '..', `set-${count++}.${ending}`);
        const made = await writeCalibrationSet(input, output, { calibration });
        t.is(made.samples, samples);
        t.is(made.bytes, readFileSync(output).length);
        t.deepEqual(made.warnings, []);
        const { fit, holdout } = await prepareCalibrationSet(output, { inputs });
        const expected = await prepareCalibrationSet(calibration, { inputs });
        t.deepEqual({ fit, holdout }, { fit: expected.fit, holdout: expected.holdout });
      }),
      { numRuns: 15 },
    );
  });

test('issue 21 item 8: images: a run on the set has the bytes of one on the pictures', async (t) => {
  const { input, output } = files(
    t,
    network({
      nodes: [node('Flatten', ['pixels'], ['x']), node('MatMul', ['x', 'w'], ['y'])],
      constants: [tensor('w', [3 * 4 * 4, 5], random(240, 1))],
      inputs: [float('pixels', ['batch', 3, 4, 4])],
      outputs: [float('y', ['batch', 5])],
    }),
  );
  const photos = join(temporaryFolder(t), 'photos');
  mkdirSync(photos);
  for (let i = 0; i < 30; i++)
    await sharp(Buffer.from(random(6 * 5 * 3, i).map((one) => 128 + 80 * one)), { raw: { width: 6, height: 5, channels: 3 } }).png().toFile(join(photos, `${i}.png`)); // prettier-ignore
  const set = join(photos, '..', 'set.safetensors');
  const made = await writeCalibrationSet(input, set, {
    calibration: photos,
    image: { mean: 0.5, std: 0.25 },
  });
  t.deepEqual(made.tensors, [{ name: 'pixels', type: 'float32', dims: [30, 3, 4, 4] }]);
  const direct = await quantizeModel(input, output, { calibration: photos, image: { mean: 0.5, std: 0.25 } });
  const later = await quantizeModel(input, `${output}.later.onnx`, { calibration: set });
  // The hashes of the data are of its numbers.
  t.deepEqual(later.provenance, direct.provenance);
  sameBytes(t, readFileSync(`${output}.later.onnx`), readFileSync(output));
});

test('issue 21 item 8: texts become tokens, a line each, none filled up', async (t) => {
  const { input } = files(
    t,
    network({
      nodes: [node('Gather', ['table', 'input_ids'], ['h']), node('MatMul', ['h', 'w'], ['y'])],
      constants: [tensor('table', [12, 8], random(96, 1)), tensor('w', [8, 4], random(32, 2))],
      inputs: [
        valueInfo('input_ids', DataType.INT64, ['batch', 'sequence']),
        valueInfo('attention_mask', DataType.INT64, ['batch', 'sequence']),
      ],
      outputs: [float('y', ['batch', 'sequence', 4])],
    }),
  );
  const folder = temporaryFolder(t);
  const [texts, tokenizer, set] = ['t.txt', 'tokenizer.json', 'set.jsonl'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
  writeFileSync(texts, 'a b\nb a a\na\n');
  writeFileSync(tokenizer, JSON.stringify(tokenizerJson()));
  const made = await writeCalibrationSet(input, set, { calibration: texts, tokenizer });
  t.is(made.samples, 3);
  const lines = readFileSync(set, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Record<string, { dims: number[]; data: number[] }>); // prettier-ignore
  for (const { input_ids, attention_mask } of lines) {
    t.deepEqual(attention_mask!.dims, input_ids!.dims);
    t.true(attention_mask!.data.every((one) => one === 1));
  }
  t.is(new Set(lines.map(({ input_ids }) => input_ids!.data.length)).size > 1, true);
  const table = writeCalibrationSet(input, join(folder, 'set.safetensors'), {
    calibration: texts,
    tokenizer,
  });
  await t.throwsAsync(table, {
    code: 'ERR_VERTEXQ_CALIBRATION',
    message: /"input_ids" has samples of other shapes, .*: write \.jsonl/,
  });
  t.deepEqual(readdirSync(folder).sort(), ['set.jsonl', 't.txt', 'tokenizer.json']);
});

test('issue 21 item 8: what a file cannot hold is refused by its reason, and leaves nothing', async (t) => {
  const { input } = files(t, taking({ x: ['FLOAT', ['batch', 4]] }));
  const folder = temporaryFolder(t);
  const data = random(40, 1);
  const calibration = { x: { data, dims: [10, 4], type: 'float32' } };
  const to = (name: string, own: object = { calibration }) => writeCalibrationSet(input, join(folder, name), own as never); // prettier-ignore
  await t.throwsAsync(to('set.npz'), { instanceOf: RangeError, message: /called \.safetensors or \.jsonl, not "set\.npz"/ }); // prettier-ignore
  await t.throwsAsync(to('set.jsonl', {}), { instanceOf: TypeError, message: /needs the option "calibration"/ }); // prettier-ignore
  await t.throwsAsync(to('set.jsonl', { calibration, batchSize: 4 }), {
    message: /Unknown option "batchSize"/,
  });
  data[7] = NaN;
  await t.throwsAsync(to('set.jsonl'), { code: 'ERR_VERTEXQ_CALIBRATION', message: /JSON has no such number, and calibration: the input "x" of sample 1 has NaN/ }); // prettier-ignore
  t.is((await to('set.safetensors')).samples, 10);
  const other = files(t, taking({ x: ['FLOAT', ['time', 'batch', 4]] }));
  const turned = { x: { data: random(80, 1), dims: [2, 10, 4], type: 'float32' } };
  const options = { calibration: turned, batchAxis: 'batch' };
  await t.throwsAsync(writeCalibrationSet(other.input, join(folder, 'turned.safetensors'), options), { message: /samples along axis 1: write \.jsonl/ }); // prettier-ignore
  t.is((await writeCalibrationSet(other.input, join(folder, 'turned.jsonl'), options)).samples, 10);
  t.deepEqual(readdirSync(folder).sort(), ['set.safetensors', 'turned.jsonl']);
});

test("issue 21 item 8: a file of the network's own data is never written over", async (t) => {
  const weights = join(temporaryFolder(t), 'weights.safetensors');
  const model = taking({ x: ['FLOAT', ['batch', 4]] });
  const [weight] = model.graph!.initializer;
  writeFileSync(weights, weight!.rawData);
  const place = { location: 'weights.safetensors', offset: '0', length: String(weight!.rawData.length) };
  weight!.externalData = Object.entries(place).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })); // prettier-ignore
  weight!.dataLocation = TensorProto_DataLocation.EXTERNAL;
  weight!.rawData = new Uint8Array();
  const input = join(weights, '..', 'in.onnx');
  writeFileSync(input, toBinary(ModelProtoSchema, model));
  const calibration = { x: { data: random(40, 1), dims: [10, 4], type: 'float32' } };
  const before = readFileSync(weights);
  await t.throwsAsync(writeCalibrationSet(input, weights, { calibration }), {
    message: /is the input's data/,
  });
  sameBytes(t, readFileSync(weights), before);
});

test('issue 21 item 8: the command: flags reach the library; what was made is told; no file is replaced unasked', async (t) => {
  const { calls, code } = await runFake(['calibrate', 'm.onnx', '-o', '/nowhere/set.jsonl', '--calibration', 'a.npz', '--image-mean', '0.5']); // prettier-ignore
  t.is(code, 0);
  t.like(calls[0], { input: 'm.onnx', output: '/nowhere/set.jsonl', written: { calibration: 'a.npz', image: { mean: [0.5] } } }); // prettier-ignore
  t.is((await runFake(['calibrate', 'm.onnx', '--calibration', 'a.npz'])).code, 2);
  const { input } = files(t, taking({ x: ['FLOAT', ['batch', 4]] }));
  const folder = temporaryFolder(t);
  const samples = join(folder, 'a.jsonl');
  writeFileSync(samples, '{"x": [1, 2, 3, 4]}\n{"x": [5, 6, 7, 8]}\n');
  const set = join(folder, 'set.safetensors');
  const first = await runWhole(['calibrate', input, '-o', set, '--calibration', samples]);
  t.is(first.code, 0, first.stderr);
  t.regex(first.stdout, /^input +type +shape\nx +float32 +2×4\n\n2 samples, \d+ B: /);
  const again = await runWhole(['calibrate', input, '-o', set, '--calibration', samples]);
  t.is(again.code, 4);
  t.is((await runWhole(['calibrate', input, '-o', set, '--calibration', samples, '--overwrite'])).code, 0);
  const own = await runWhole(['calibrate', input, '-o', samples, '--calibration', samples, '--overwrite']);
  t.is(own.code, 2);
});
