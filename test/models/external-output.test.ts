import test, { type ExecutionContext } from 'ava';
import { linkSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { inspectModel, quantizeModel } from '../../lib/index';
import { node, tensor } from '../../lib/containers/onnx/make';
import type { ModelProto } from '../../lib/containers/onnx/onnx_pb';
import {
  bytesOf,
  difference,
  feed,
  files,
  float,
  folder,
  inFloat,
  network,
  random,
  readBack,
} from './networks';
import { sameBytes } from '../files/same-bytes';

const model = network({
  nodes: [
    node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
    node('Add', ['a', 'large'], ['b']),
    node('MatMul', ['b', 'v'], ['c'], { name: 'second' }),
    node('Add', ['c', 'small'], ['y']),
  ],
  constants: [
    tensor('w', [128, 256], random(128 * 256, 1)),
    tensor('large', [40, 256], random(40 * 256, 2)),
    tensor('v', [256, 64], random(256 * 64, 3)),
    tensor('small', [64], random(64, 4)),
  ],
  inputs: [float('x', [40, 128])],
});
const calibration = [feed([40, 128], 1), feed([40, 128], 2)];
const formats = ['float', 'qdq', 'matmulnbits'] as const;

/** The answer of a model that is loaded from its file, beside those of its data. */
async function answer(path: string): Promise<Float32Array> {
  const session = await InferenceSession.create(path, {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
    ...inFloat,
  });
  const { data, dims } = calibration[0]!['x']!;
  const { y } = await session.run({ x: new Tensor('float32', data as Float32Array, dims) });
  await session.release();
  return y!.data as Float32Array;
}

const dataOf = (found: ModelProto, name: string) =>
  found.graph!.initializer.find((kept) => kept.name === name)!;

test('external data: the runtime gives the same answers, and what was not quantized is there byte for byte', async (t) => {
  const options = { calibration, method: 'msq' } as const;
  for (const format of formats) {
    const { input } = files(t, model);
    const path = folder(t);
    const plain = join(path, 'plain.onnx');
    const apart = join(path, 'apart.onnx');
    const one = await quantizeModel(input, plain, { ...options, format });
    const two = await quantizeModel(input, apart, { ...options, format, externalData: true });
    t.deepEqual(readdirSync(path), ['apart.onnx', 'apart.onnx_data', 'plain.onnx']);
    t.deepEqual(one.files, [plain]);
    t.deepEqual(two.files, [`${apart}_data`, apart]);
    t.is(two.bytes.after, readFileSync(apart).length + readFileSync(`${apart}_data`).length);
    t.is(one.bytes.weightsAfter, two.bytes.weightsAfter);
    t.deepEqual(await answer(apart), await answer(plain));
    // In one file, what is longer than 16 KiB never went through the message.
    const large = Buffer.from(dataOf(model, 'large').rawData);
    t.deepEqual(Buffer.from(dataOf(readBack(plain), 'large').rawData), large);
    const place = Object.fromEntries(
      dataOf(readBack(apart), 'large').externalData.map(({ key, value }) => [key, value]),
    );
    t.is(place['location'], 'apart.onnx_data');
    t.is(Number(place['offset']) % 4096, 0);
    const data = readFileSync(`${apart}_data`);
    t.deepEqual(data.subarray(Number(place['offset']), Number(place['offset']) + large.length), large);
    t.deepEqual(dataOf(readBack(apart), 'small'), dataOf(readBack(plain), 'small'));
  }
});

test('a quantized model with external data is quantized on, with and without', async (t) => {
  const { input, output } = files(t, model);
  for (const format of formats) {
    await quantizeModel(input, output, { method: 'msq', format, externalData: true, layers: 'first' });
    const whole = join(dirname(output), 'whole.onnx');
    await quantizeModel(input, whole, { method: 'msq', format });
    for (const externalData of [false, true]) {
      const next = join(folder(t), 'next.onnx');
      const report = await quantizeModel(output, next, {
        method: 'msq',
        format,
        externalData,
        layers: 'second',
      });
      t.deepEqual(
        report.layers.map(({ name }) => name),
        ['second'],
      );
      t.is(report.bytes.before, readFileSync(output).length + readFileSync(`${output}_data`).length);
      t.is(readdirSync(dirname(next)).length, externalData ? 2 : 1);
      t.true(difference(await answer(whole), await answer(next)) < 1e-6, format);
      t.deepEqual((await inspectModel(next)).inputs, (await inspectModel(output)).inputs);
    }
  }
});

/** A model with its data in files of these names. */
async function withFiles(t: ExecutionContext): Promise<string> {
  const { input } = files(t, model);
  const path = folder(t);
  const apart = join(path, 'out.onnx');
  await quantizeModel(input, apart, { method: 'msq', format: 'float', bits: 8, externalData: true });
  return apart;
}

test('the data of the input is never written over', async (t) => {
  const input = await withFiles(t);
  const path = dirname(input);
  const data = readFileSync(`${input}_data`);
  writeFileSync(join(path, 'in.onnx'), readFileSync(input));
  symlinkSync('.', join(path, 'same'));
  linkSync(`${input}_data`, join(path, 'linked.onnx_data'));
  const onProgress = () => t.fail('there was work before the error');
  for (const output of [input, join(path, 'same', 'out.onnx'), `${path}/./out.onnx`, `${input}_data`])
    for (const externalData of [false, true])
      await t.throwsAsync(
        quantizeModel(join(path, 'in.onnx'), output, { method: 'msq', externalData, onProgress }),
        { instanceOf: RangeError, message: /^The output .*out\.onnx_data is the input/ },
      );
  // A hard link is another file once it is replaced.
  await quantizeModel(join(path, 'in.onnx'), join(path, 'linked.onnx'), {
    method: 'msq',
    externalData: true,
  });
  sameBytes(t, readFileSync(`${input}_data`), data);
  t.notDeepEqual(readFileSync(join(path, 'linked.onnx_data')), data);
});

test('nor is that of files of a further number, nor the model or its calibration data', async (t) => {
  const input = await withFiles(t);
  const path = dirname(input);
  const renamed = readBack(input);
  for (const { externalData } of renamed.graph!.initializer)
    for (const entry of externalData) if (entry.key === 'location') entry.value = 'new.onnx_data_3';
  writeFileSync(join(path, 'in.onnx'), bytesOf(renamed));
  writeFileSync(join(path, 'new.onnx_data_3'), readFileSync(`${input}_data`));
  await t.throwsAsync(quantizeModel(join(path, 'in.onnx'), join(path, 'new.onnx'), { externalData: true }), {
    instanceOf: RangeError,
    message: /^The output .*new\.onnx_data_3 is the input/,
  });
  await quantizeModel(join(path, 'in.onnx'), join(path, 'new'), { method: 'msq', externalData: true });
  writeFileSync(join(path, 'm_data'), bytesOf(model));
  await t.throwsAsync(quantizeModel(join(path, 'm_data'), join(path, 'm'), { externalData: true }), {
    instanceOf: RangeError,
    message: /^The output .*m_data is the input/,
  });
  mkdirSync(join(path, 'f.onnx_data'));
  await t.throwsAsync(quantizeModel(input, join(path, 'f.onnx'), { externalData: true }), {
    code: 'ERR_VERTEXQ_FILE',
    message: /f\.onnx_data cannot be written: it exists and is not a regular file/,
  });
});

test('an abort while it is written rejects with the reason, whatever that is, and leaves nothing', async (t) => {
  const reasons = [undefined, null, 'stop', Object.assign(new Error('own'), { code: 'EOWN' })];
  for (const reason of reasons)
    for (const externalData of [false, true]) {
      const { input, output } = files(t, model);
      const controller = new AbortController();
      const error: unknown = await quantizeModel(input, output, {
        method: 'msq',
        externalData,
        signal: controller.signal,
        onProgress: ({ stage }) => {
          if (stage === 'write') controller.abort(reason);
        },
      }).catch((thrown: unknown) => thrown);
      t.is(error, controller.signal.reason);
      t.deepEqual(readdirSync(dirname(input)), [basename(input)]);
    }
});

/** Bytes that `work` writes to files. */
async function bytesWritten(path: string, work: () => Promise<unknown>): Promise<number> {
  const handle = await open(path);
  await handle.close();
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  const write = Reflect.get<FileHandle, 'write'>(prototype, 'write');
  let bytes = 0;
  prototype.write = async function (this: FileHandle, ...given: Parameters<typeof write>) {
    const done = await write.apply(this, given);
    bytes += done.bytesWritten;
    return done;
  } as typeof write;
  try {
    await work();
    return bytes;
  } finally {
    prototype.write = write;
  }
}

/** Two products, of weights whose codes take 1 MiB and more, and numbers between them; `stays`: the first weight is used otherwise, too. */
const wide = (stays: boolean) =>
  network({
    nodes: [
      node('MatMul', ['x', 'w'], ['a'], { name: 'first' }),
      node('Add', ['a', 'between'], ['b']),
      node('MatMul', ['b', 'v'], ['c'], { name: 'second' }),
      node('Add', ['c', 'last'], ['y']),
      ...(stays ? [node('Add', ['w', 'between'], ['z'])] : []),
    ],
    constants: [
      tensor('w', [2048, 1024], random(2048 * 1024, 1)),
      tensor('between', [1024], random(1024, 2)),
      tensor('v', [1024, 2100], random(1024 * 2100, 3)),
      tensor('last', [2100], random(2100, 4)),
    ],
    inputs: [float('x', [1, 2048])],
  });

test.serial(
  'codes are written to their places beside the network once; elsewhere, where other data comes before them than was foreseen',
  async (t) => {
    for (const stays of [false, true]) {
      const { input } = files(t, wide(stays));
      const path = folder(t);
      const [plain, apart] = [join(path, 'plain.onnx'), join(path, 'apart.onnx')];
      const options = { method: 'msq', format: 'matmulnbits' } as const;
      await quantizeModel(input, plain, { ...options, externalData: false });
      const written = await bytesWritten(input, () =>
        quantizeModel(input, apart, { ...options, externalData: true }),
      );
      const data = readFileSync(`${apart}_data`);
      const size = data.length + readFileSync(apart).length;
      t.is(written < 1.1 * size, !stays, `${written} bytes of ${size}`);
      const found = readBack(apart).graph!.initializer;
      const expected = readBack(plain).graph!.initializer;
      t.deepEqual(
        found.map(({ name }) => name),
        expected.map(({ name }) => name),
      );
      let end = 0;
      for (const [i, { externalData, rawData }] of found.entries()) {
        const place = Object.fromEntries(externalData.map(({ key, value }) => [key, value]));
        const offset = Number(place['offset']);
        const own =
          externalData.length > 0 ? data.subarray(offset, offset + Number(place['length'])) : rawData;
        t.true(Buffer.from(expected[i]!.rawData).equals(own), expected[i]!.name);
        if (externalData.length === 0) continue;
        t.true(data.subarray(end, offset).every((byte) => byte === 0));
        t.is(offset, Math.ceil(end / 4096) * 4096);
        end = offset + own.length;
      }
      t.is(data.length, end);
      t.deepEqual(readdirSync(path), ['apart.onnx', 'apart.onnx_data', 'plain.onnx']);
    }
  },
);
