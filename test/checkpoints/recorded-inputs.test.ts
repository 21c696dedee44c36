import test from 'ava';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint, quantizeLayer } from '../../lib/index';
import type { FloatDtype } from '../../lib/containers/safetensors/dtypes';
import { temporaryFolder } from '../files/temporary-folder';
import { bytesOf, fileOf, numbers, smallModel, tensor, type Tensors, writeFolder } from './make';
import { floats, readAll, unpackCompressed, unpackGptq } from './unpack';

const [rows, width] = [400, 64];
/** What a layer sees: not all directions alike. */
const seen = (seed: number, dtype: FloatDtype = 'F32') => {
  const x = numbers(rows * width, seed);
  for (let i = 0; i < x.length; i++) x[i]! *= 1 + (i % width) / 8 + (i % 7);
  return { dtype, shape: [4, rows / 4, width], data: bytesOf(x, dtype) };
};

function gramOf(x: Float32Array): Float64Array {
  const gram = new Float64Array(width * width);
  for (let r = 0; r < x.length; r += width)
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++) gram[i * width + j]! += x[r + i]! * x[r + j]!;
  return gram;
}

const f32 = (data: Uint8Array) => new Float32Array(data.slice().buffer);

test('a fit to recorded rows or their Gram matrix is that of quantizeLayer', async (t) => {
  const folder = temporaryFolder(t);
  const [input, data] = [join(folder, 'in.safetensors'), join(folder, 'data.safetensors')];
  const weight = tensor('F32', [48, width], 3);
  writeFileSync(input, fileOf({ 'a.weight': weight, 'b.weight': tensor('F32', [48, width], 4) }));
  const x = seen(5);
  const gram = gramOf(f32(x.data));
  writeFileSync(
    data,
    fileOf({
      'a.weight': x,
      'b.gram': { dtype: 'F64', shape: [width, width], data: new Uint8Array(gram.buffer) },
    }),
  );
  for (const options of [
    { method: 'vertex', effort: 0, bits: 3 },
    { method: 'gptq', groupSize: 16 },
    { method: 'gpfq', bits: 4 },
    { method: 'msq', groupSize: 32 },
  ] as CheckpointOptions[]) {
    const output = join(folder, `${options.method}.safetensors`);
    const report = await quantizeCheckpoint(input, output, { ...options, activations: data, holdout: 0.25 });
    const layer = { outFeatures: 48, inFeatures: width };
    const settings = { grid: 'full-range', ...options } as const;
    const kept = f32(x.data).subarray(0, 300 * width);
    const fitted = await quantizeLayer(
      { ...layer, weight: f32(weight.data), activations: kept, holdout: f32(x.data).subarray(300 * width) },
      settings,
    );
    const after = await readAll(output);
    t.deepEqual(unpackCompressed(after, 'a', options.bits ?? 4).values, fitted.dequantize(), options.method);
    t.like(report.layers[0], {
      name: 'a',
      method: fitted.report.method,
      samples: 300,
      error: fitted.report.error,
    });
    const fromGram = await quantizeLayer({ ...layer, weight: numbers(48 * width, 4), gram }, settings);
    t.deepEqual(
      unpackCompressed(after, 'b', options.bits ?? 4).values,
      fromGram.dequantize(),
      options.method,
    );
  }
});

for (const [dtype, format, size] of [
  ['F16', 'compressed-tensors', 1e-3],
  ['BF16', 'compressed-tensors', 1],
  ['F32', 'gptq', 1e-3],
  ['F16', 'float', 1e-5],
  ['BF16', 'float', 1],
] as const)
  test(`case half_small: in ${format} from ${dtype}, fits are to the values that the file holds`, async (t) => {
    const folder = temporaryFolder(t);
    const [input, data] = [join(folder, 'in.safetensors'), join(folder, 'data.safetensors')];
    const exact = numbers(48 * width, 3).map((value) => value * size);
    const raw = bytesOf(exact, dtype);
    const weight = floats(raw.slice(), dtype);
    writeFileSync(input, fileOf({ 'a.weight': { dtype, shape: [48, width], data: raw } }));
    const x = seen(5);
    writeFileSync(data, fileOf({ 'a.weight': x }));
    for (const method of ['vertex', 'gptq', 'gpfq'] as const) {
      const output = join(folder, `${method}.safetensors`);
      const options = { method, format, bits: 8, groupSize: 16, activations: data, holdout: 0 } as const;
      const effort = method === 'vertex' ? { effort: 8 } : {};
      const report = await quantizeCheckpoint(input, output, { grid: 'integer', ...options, ...effort });
      const after = await readAll(output);
      const kept =
        format === 'float'
          ? floats(after.tensors.get('a.weight')!.bytes, dtype)
          : format === 'gptq'
            ? unpackGptq(after, 'a', 8, 1).values
            : unpackCompressed(after, 'a', 8).values;
      const { error } = report.layers[0]!;
      const [apart, change] = [outputError(f32(x.data), weight, kept), weightError(weight, kept)];
      t.true(Math.abs(error.calibration! / apart - 1) < 1e-3, `${method}: ${error.calibration}, ${apart}`);
      t.true(Math.abs(error.weight / change - 1) < 1e-5, `${method}: ${error.weight}, ${change}`);
      const ideal = await quantizeLayer(
        { weight, outFeatures: 48, inFeatures: width, activations: f32(x.data) },
        { method, bits: 8, grid: 'integer', groupSize: 16, ...effort },
      );
      // What float32 scales have, and what rounding them cannot help adding.
      t.true(apart < 1.25 * ideal.report.error.calibration! + size / 1000, `${method}: ${apart}`);
    }
  });

function weightError(before: Float32Array, after: Float32Array): number {
  const difference = Float64Array.from(before, (value, i) => value - after[i]!);
  return norm(difference) / norm(Float64Array.from(before));
}

function outputError(x: Float32Array, before: Float32Array, after: Float32Array): number {
  const outputs = (w: (i: number) => number) => {
    const y = new Float64Array((x.length / width) * (before.length / width));
    for (let r = 0, at = 0; r < x.length; r += width)
      for (let o = 0; o < before.length; o += width, at++)
        for (let i = 0; i < width; i++) y[at]! += x[r + i]! * w(o + i);
    return y;
  };
  return norm(outputs((i) => before[i]! - after[i]!)) / norm(outputs((i) => before[i]!));
}

const norm = (values: Float64Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));

test('one record serves the layers that see the same, in every dtype', async (t) => {
  const folder = temporaryFolder(t);
  const [input, data] = [join(folder, 'in'), join(folder, 'data.safetensors')];
  writeFolder(input, smallModel('BF16'));
  const own = 'model.layers.0.self_attn';
  for (const dtype of ['F16', 'BF16', 'F32', 'F64'] as const) {
    writeFileSync(
      data,
      fileOf({ [`${own}.k_proj`]: seen(1, dtype), [`${own}.o_proj.weight`]: seen(2, dtype), 'x.y': seen(3) }),
    );
    const report = await quantizeCheckpoint(input, join(folder, dtype), {
      activations: [data],
      method: 'gptq',
      groupSize: 32,
    });
    const methods = new Map(report.layers.map(({ name, method, samples }) => [name, `${method} ${samples}`]));
    for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
      t.is(methods.get(`${own}.${name}`), 'gptq 360');
    t.is(methods.get('model.layers.1.self_attn.q_proj'), 'msq 0');
    t.true(report.warnings.some((text) => /^Nothing is recorded for .*rounded by themselves/.test(text)));
    t.true(
      report.warnings.includes('Recorded inputs that belong to no weight: x.y. [WARN_VERTEXQ_UNUSED_DATA]'),
    );
  }
});

test('recorded inputs that are wrong', async (t) => {
  const folder = temporaryFolder(t);
  const [input, data] = [join(folder, 'in.safetensors'), join(folder, 'data.safetensors')];
  writeFileSync(input, fileOf({ 'a.weight': tensor('F32', [8, width], 3) }));
  const bad = numbers(rows * width, 1);
  bad[5 * width + 3] = NaN;
  const square = (data_: Float64Array) => ({
    dtype: 'F64',
    shape: [width, width],
    data: new Uint8Array(data_.buffer),
  });
  for (const [tensors, message, code] of [
    [
      { b: seen(1) },
      /The recorded inputs are for no weight that is quantized: they are called b, and the weights a\.weight/,
      'CALIBRATION',
    ],
    [
      { a: tensor('F32', [9, 32], 1) },
      /tensor "a" is for 32 inputs, and the weight "a\.weight" has 64/,
      'CALIBRATION',
    ],
    [{ a: tensor('F32', [64], 1) }, /should be rows \[\.\.\., inFeatures\]/, 'CALIBRATION'],
    [{ a: tensor('F32', [0, 64], 1) }, /with at least one/, 'CALIBRATION'],
    [{ 'a.gram': tensor('F32', [32, 64], 1) }, /a Gram matrix is \[inFeatures, inFeatures\]/, 'CALIBRATION'],
    [{ a: { dtype: 'I32', shape: [2, 64], data: new Uint8Array(512) } }, /is I32/, 'CALIBRATION'],
    [
      { a: { dtype: 'F32', shape: [rows, width], data: bytesOf(bad, 'F32') } },
      /data\.safetensors: tensor "a": .*NaN|not finite/,
      'NOT_FINITE',
    ],
    [
      { 'a.gram': square(new Float64Array(width * width).fill(-1)) },
      /data\.safetensors: tensor "a\.gram": /,
      'GRAM',
    ],
  ] as [Tensors, RegExp, string][]) {
    writeFileSync(data, fileOf(tensors));
    await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out.safetensors'), { activations: data }), {
      ...{ code: `ERR_VERTEXQ_${code}`, message },
    });
  }
  await t.throwsAsync(
    quantizeCheckpoint(input, join(folder, 'out.safetensors'), { activations: join(folder, 'none') }),
    { code: 'ERR_VERTEXQ_FILE' },
  );
});
