import test from 'ava';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  inspectCheckpoint,
  planCheckpoint,
  quantizeCheckpoint,
} from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { bytesOf, fileOf, numbers, smallModel, tensor, type Tensors, writeFolder } from './make';
import { floats, readAll, unpackCompressed } from './unpack';

test('options that are wrong', async (t) => {
  for (const [options, message] of [
    [{ bit: 3 }, /Unknown option "bit": did you mean "bits"/],
    [{ bits: 9 }, /"bits" option to be a whole number from 1 to 8/],
    [{ bits: 1 }, /cannot hold a "zero-free" grid/],
    [{ bits: 4, levels: 3 }, /contradict/],
    [{ format: 'awq' }, /"format" option to be one of "compressed-tensors", "gptq"/],
    [{ format: 'gguf' }, /"gguf" chooses a type for each tensor by a target: give "targetSize"/],
    [{ format: 'gptq', bits: 5 }, /holds 2, 3, 4 or 8 bits, not 5/],
    [{ format: 'gptq', grid: 'asymmetric' }, /cannot hold every zero point/],
    [{ method: 'gptq' }, /"gptq" needs calibration data/],
    [{ holdout: 0.1 }, /needs "calibration", "ownSamples" or "activations"/],
    [{ activations: [] }, /"activations" option to be the path/],
    [{ activations: 'a', holdout: 1 }, /fraction from 0 and below 1/],
    [{ memory: 10 }, /"memory" option to be 128M/],
    [{ resume: 1 }, /"resume" option to be true or false/],
    [{ layers: [] }, /"layers" option is empty/],
    [{ skip: 3 }, /"skip" option to be a glob/],
    [{ overrides: 3 }, /Expected the "overrides" option to be an array of objects, .*, not 3/],
    [{ overrides: { a: { bits: 3 } } }, /Expected the "overrides" option to be an array of objects/],
    [{ overrides: [3] }, /^overrides\[0\]: Expected the options to be an object, not 3/],
    [{ overrides: [{ bits: 3 }] }, /^overrides\[0\]: Expected "layers"/],
    [{ overrides: [{ layers: 'a' }] }, /^overrides\[0\]: There is nothing but "layers": give one of bits, /],
    [{ overrides: [{ layers: 'a', bitz: 3 }] }, /^overrides\[0\]: .*did you mean "bits"/],
    [
      {
        overrides: [
          { layers: 'a', bits: 3 },
          { layers: 'a', bits: 12 },
        ],
      },
      /^overrides\[1\]: .*"bits" option/,
    ],
    [{ overrides: [{ layers: 'a', effort: 3 }] }, /^overrides\[0\]: Unknown option "effort"/],
    [{ overrides: [{ layers: 'a', method: 'gptq' }] }, /^overrides\[0\]: .*"gptq" needs calibration data/],
    [{ format: 'gptq', overrides: [{ layers: 'a', bits: 5 }] }, /^overrides\[0\]: .*not 5/],
    [{ threads: 0 }, /"threads" option/],
  ] as [object, RegExp][])
    for (const call of [quantizeCheckpoint, planCheckpoint]) {
      const error = await t.throwsAsync(call('/nowhere/in', '/nowhere/out', options), { message });
      t.true(error instanceof TypeError || error instanceof RangeError);
    }
  for (const path of ['', undefined, 3])
    await t.throwsAsync(quantizeCheckpoint(path as string, 'out'), { instanceOf: TypeError });
  await t.throwsAsync(inspectCheckpoint(''), { instanceOf: TypeError });
});

test('weights that are not finite are named, and nothing is written', async (t) => {
  const folder = temporaryFolder(t);
  for (const [dtype, bad] of [
    ['F32', NaN],
    ['BF16', Infinity],
    ['F16', -Infinity],
    ['F64', NaN],
  ] as const) {
    const values = numbers(64 * 40, 1);
    values[32 * 40 + 7] = bad;
    const input = join(folder, 'in.safetensors');
    writeFileSync(input, fileOf({ 'a.weight': { dtype, shape: [64, 40], data: bytesOf(values, dtype) } }));
    await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out.safetensors')), {
      code: 'ERR_VERTEXQ_NOT_FINITE',
      message: /in\.safetensors: tensor "a\.weight": weight of neuron 32, input 7 is (NaN|infinite)/,
    });
    t.deepEqual(readdirSync(folder), ['in.safetensors']);
  }
});

test('steps that no scale can be', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  const values = numbers(64 * 32, 1).map((value) => value * 1e8);
  writeFileSync(
    input,
    fileOf({ 'a.weight': { dtype: 'F32', shape: [64, 32], data: bytesOf(values, 'F32') } }),
  );
  await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out.safetensors'), { format: 'gptq' }), {
    code: 'ERR_VERTEXQ_SCALE_RANGE',
    message: /"a\.weight": neuron 0: .* overflows float16/,
  });
  t.is((await quantizeCheckpoint(input, join(folder, 'out.safetensors'))).layers.length, 1);
});

test('odd weights: all 0, constant, denormal, −0, one row, one column, a prime width, empty', async (t) => {
  const folder = temporaryFolder(t);
  const filled = (shape: [number, number], value: number) => ({
    ...{ dtype: 'F32', shape, data: bytesOf(new Float32Array(shape[0] * shape[1]).fill(value), 'F32') },
  });
  const tensors: Tensors = {
    'zero.weight': filled([33, 40], 0),
    'minus.weight': filled([2, 40], -0),
    'same.weight': filled([4, 8], 0.3),
    'tiny.weight': filled([4, 8], 1e-42),
    'huge.weight': filled([4, 8], 3e38),
    'row.weight': tensor('F32', [1, 64], 1),
    'column.weight': tensor('F32', [64, 1], 2),
    'prime.weight': tensor('F32', [7, 31], 3),
    'none.weight': filled([0, 8], 0),
    '__proto__.weight': tensor('F32', [4, 8], 4),
    '../x.weight': tensor('F32', [4, 8], 5),
    'a\0b.weight': tensor('F32', [4, 8], 6),
    '.weight': tensor('F32', [4, 8], 7),
  };
  const [input, output] = [join(folder, 'in.safetensors'), join(folder, 'out.safetensors')];
  writeFileSync(input, fileOf(tensors));
  const { layers, skipped } = await quantizeCheckpoint(input, output, { bits: 8 });
  t.is(layers.length, 12);
  t.deepEqual(skipped, [{ name: 'none.weight', reason: 'empty', bytes: 0, choice: false }]);
  const after = await readAll(output);
  for (const { name } of layers) {
    const original = floats(tensors[`${name}.weight`]!.data.slice(), 'F32');
    const { values } = unpackCompressed(after, name, 8);
    for (const [i, value] of original.entries())
      t.true(Math.abs(values[i]! - value) <= 0.01 * Math.max(...original.map(Math.abs)) + 1e-44, name);
  }
});

test('checkpoints without a weight to quantize, or quantized already', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  writeFileSync(
    input,
    fileOf({ 'lm_head.weight': tensor('F32', [4, 8], 1), 'a.bias': tensor('F32', [8], 1) }),
  );
  await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'out.safetensors')), {
    code: 'ERR_VERTEXQ_NO_LAYERS',
    message: /has no weight to quantize \("lm_head\.weight": a head\)/,
  });
  await t.throwsAsync(quantizeCheckpoint(input, join(folder, 'o.safetensors'), { layers: 'nothing*' }), {
    instanceOf: RangeError,
    message: /The pattern "nothing\*" of the "layers" option matches no tensor/,
  });
  t.is(
    (await quantizeCheckpoint(input, join(folder, 'o.safetensors'), { layers: 'lm_head' })).layers.length,
    1,
  );
  writeFolder(join(folder, 'model'), smallModel());
  await quantizeCheckpoint(join(folder, 'model'), join(folder, 'quantized'));
  await t.throwsAsync(quantizeCheckpoint(join(folder, 'quantized'), join(folder, 'twice')), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /quantized already/,
  });
  writeFolder(join(folder, 'gpt2'), smallModel(), { model_type: 'gpt2' });
  await t.throwsAsync(quantizeCheckpoint(join(folder, 'gpt2'), join(folder, 'out')), {
    code: 'ERR_VERTEXQ_NO_LAYERS',
    message: /transposed/,
  });
  writeFileSync(join(folder, 'gpt2', 'config.json'), '[');
  await t.throwsAsync(quantizeCheckpoint(join(folder, 'gpt2'), join(folder, 'out')), {
    code: 'ERR_VERTEXQ_FILE',
    message: /no valid JSON/,
  });
});

test('what is copied with the weights', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  for (const name of ['pytorch_model.bin', 'model.gguf', 'LICENSE', '.gitattributes'])
    writeFileSync(join(input, name), name);
  mkdirSync(join(input, 'original'));
  await quantizeCheckpoint(input, output, { format: 'float' });
  t.deepEqual(
    readdirSync(output)
      .filter((name) => !name.includes('safetensors'))
      .sort(),
    ['.gitattributes', 'LICENSE', 'config.json', 'tokenizer.json', 'vertexq.manifest.json'],
  );
  t.is(readFileSync(join(output, 'config.json'), 'utf8'), readFileSync(join(input, 'config.json'), 'utf8'));
});

test('planCheckpoint says what quantizeCheckpoint does', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel('F16'));
  for (const options of [
    { groupSize: 32 },
    { format: 'gptq', bits: 8, scale: 'max' },
    { format: 'float' },
  ] as CheckpointOptions[]) {
    const target = `${output}${options.format ?? ''}`;
    const plan = await planCheckpoint(input, target, options);
    t.deepEqual(readdirSync(folder).includes(target), false);
    const report = await quantizeCheckpoint(input, target, options);
    t.deepEqual(plan.bytes, report.bytes);
    t.deepEqual(
      plan.tensors.filter(({ action }) => action === 'quantize').map(({ name }) => name),
      report.layers.map(({ name }) => `${name}.weight`),
    );
    t.true(plan.seconds! > 0 && plan.memory > 0);
    t.true(
      Math.abs(plan.bitsPerWeight! - (8 * report.bytes.weightsAfter) / (12 * 64 * 64 + 4 * 64 * 64)) < 4,
    );
  }
});

test('inspectCheckpoint: float, and what we wrote', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(input, smallModel());
  const before = await inspectCheckpoint(input);
  t.is(before.layers.length, 12);
  t.is(before.quantization, null);
  for (const format of ['compressed-tensors', 'gptq', 'gptq_v2'] as const) {
    const output = join(folder, format);
    await quantizeCheckpoint(input, output, { format, groupSize: 32, bits: 3 });
    const { quantization, layers } = await inspectCheckpoint(output);
    t.is(layers.length, 0);
    t.is(quantization!.weights.length, 12);
    t.like(
      quantization!.weights.find(({ name }) => name === 'model.layers.0.mlp.up_proj'),
      {
        ...{ shape: [128, 64], bits: 3, groupSize: 32, symmetric: format !== 'gptq_v2' },
      },
    );
  }
  const file = join(input, 'model-00001-of-00002.safetensors');
  await quantizeCheckpoint(file, join(folder, 'a.safetensors'), { groupSize: 16 });
  t.like((await inspectCheckpoint(join(folder, 'a.safetensors'))).quantization, {
    method: 'compressed-tensors',
    format: 'pack-quantized',
  });
});
