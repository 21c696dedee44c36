import test from 'ava';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  type LanguageModelOptions,
  planCheckpoint,
  quantizeCheckpoint,
  quantizeLanguageModel,
  quantizeLayer,
  type WeightOverride,
} from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { bytesOf, fileOf, numbers, smallModel, tensor, writeFolder } from './make';
import { floats, readAll, unpackCompressed, unpackGptq } from './unpack';
import { apart } from '../numbers';
import { sameBytes } from '../files/same-bytes';

const up = 'model.layers.1.mlp.up_proj';

/** How near rounding with a step of the range over 2^bits should come. */
const expectedError: Record<number, number> = { 2: 0.45, 3: 0.25, 4: 0.12, 8: 0.008 };

for (const dtype of ['BF16', 'F16', 'F32', 'F64'] as const)
  test(`a folder of ${dtype}, as compressed-tensors`, async (t) => {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out')];
    writeFolder(input, smallModel(dtype));
    const report = await quantizeCheckpoint(input, output, { groupSize: 32 });
    t.deepEqual(readdirSync(output).sort(), [
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
      'tokenizer.json',
      'vertexq.manifest.json',
    ]);
    const [before, after] = [await readAll(input), await readAll(output)];
    for (const name of ['model.embed_tokens.weight', 'lm_head.weight', 'model.norm.weight', 'model.steps'])
      t.deepEqual(after.tensors.get(name), before.tensors.get(name));
    t.is(report.layers.length, 12);
    t.is(report.copied.tensors, before.tensors.size - 12);
    for (const layer of report.layers) {
      const original = before.tensors.get(`${layer.name}.weight`)!;
      const { values, shape } = unpackCompressed(after, layer.name, 4);
      t.deepEqual(shape, layer.shape);
      const error = apart(values, floats(original.bytes, dtype));
      t.true(error < expectedError[4]!, String(error));
      t.true(Math.abs(error - layer.error.weight) < 1e-3 * error);
      t.false(after.tensors.has(`${layer.name}.weight`));
    }
    const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as Record<string, unknown>;
    t.is(config['model_type'], 'llama');
    t.like(config['quantization_config'], {
      quant_method: 'compressed-tensors',
      format: 'pack-quantized',
      ignore: ['model.embed_tokens', 'lm_head'],
      config_groups: {
        group_0: { targets: ['Linear'], weights: { num_bits: 4, strategy: 'group', group_size: 32 } },
      },
    });
    const index = JSON.parse(readFileSync(join(output, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_size: number };
    };
    const bytes = [...after.tensors.values()].reduce((sum, { bytes: own }) => sum + own.length, 0);
    t.is(index.metadata.total_size, bytes);
  });

const kinds: [options: CheckpointOptions, bits: number][] = [
  ...([2, 3, 4, 5, 6, 7, 8] as const).map((bits): [CheckpointOptions, number] => [
    { bits, groupSize: 16 },
    bits,
  ]),
  [{ bits: 4 }, 4],
  [{ bits: 4, grid: 'integer', groupSize: 64 }, 4],
  [{ bits: 4, grid: 'asymmetric', groupSize: 64 }, 4],
  [{ levels: 3, grid: 'integer', groupSize: 32 }, 2],
  [{ bits: 3, grid: 'integer', groupSize: 32 }, 3],
  [{ bits: 4, grid: 'full-range', groupSize: 32 }, 4],
  [{ bits: 8, grid: 'full-range' }, 8],
  [{ bits: 4, groupSize: 32, scale: 'max' }, 4],
];

test('every width and grid of compressed-tensors says what the format "float" has', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  writeFileSync(
    input,
    fileOf({ 'a.weight': tensor('F32', [70, 192], 3), 'b.weight': tensor('F32', [33, 64], 4) }),
  );
  for (const [i, [options, bits]] of kinds.entries()) {
    const [packed, plain] = [join(folder, `p${i}.safetensors`), join(folder, `f${i}.safetensors`)];
    await quantizeCheckpoint(input, packed, options);
    const grid = options.grid ?? 'full-range';
    await quantizeCheckpoint(input, plain, { ...options, grid, format: 'float' });
    const [a, b] = [await readAll(packed), await readAll(plain)];
    for (const name of ['a', 'b'])
      t.deepEqual(
        unpackCompressed(a, name, bits).values,
        floats(b.tensors.get(`${name}.weight`)!.bytes, 'F32'),
      );
  }
});

test('msq gives what quantizeLayer gives', async (t) => {
  const folder = temporaryFolder(t);
  const weight = numbers(96 * 128, 5);
  writeFileSync(
    join(folder, 'in.safetensors'),
    fileOf({ 'a.weight': { dtype: 'F32', shape: [96, 128], data: bytesOf(weight, 'F32') } }),
  );
  for (const [i, [options, bits]] of kinds.entries()) {
    const output = join(folder, `out${i}.safetensors`);
    const report = await quantizeCheckpoint(join(folder, 'in.safetensors'), output, options);
    const layer = { weight, outFeatures: 96, inFeatures: 128 };
    const grid = options.grid ?? 'full-range';
    const quantized = await quantizeLayer(layer, { ...options, method: 'msq', grid });
    t.deepEqual(unpackCompressed(await readAll(output), 'a', bits).values, quantized.dequantize());
    t.true(Math.abs(report.layers[0]!.error.weight / quantized.report.error.weight - 1) < 1e-4);
  }
});

for (const format of ['gptq', 'gptq_v2'] as const)
  test(`${format}: every width`, async (t) => {
    const folder = temporaryFolder(t);
    const input = join(folder, 'in');
    writeFolder(input, smallModel('BF16'));
    for (const bits of [2, 3, 4, 8] as const)
      for (const groupSize of [32, 'channel'] as const) {
        const output = join(folder, `out${bits}${groupSize}`);
        const grid = format === 'gptq' ? 'full-range' : 'asymmetric';
        const report = await quantizeCheckpoint(input, output, { format, bits, groupSize });
        const [before, after] = [await readAll(input), await readAll(output)];
        for (const layer of report.layers) {
          const { values } = unpackGptq(after, layer.name, bits, format === 'gptq' ? 1 : 2);
          const original = floats(before.tensors.get(`${layer.name}.weight`)!.bytes, 'BF16');
          const error = apart(values, original);
          t.true(
            error < (groupSize === 32 ? 1 : 1.5) * expectedError[bits]!,
            `${bits} ${groupSize} ${error}`,
          );
          t.true(Math.abs(error - layer.error.weight) < 2e-3 * error);
        }
        const zeros = after.tensors.get(`${up}.qzeros`)!.bytes;
        if (format === 'gptq' && bits === 4) t.true(zeros.every((byte) => byte === 0x77));
        for (const name of ['config.json', 'quantize_config.json']) {
          const parsed = JSON.parse(readFileSync(join(output, name), 'utf8')) as Record<string, never>;
          t.like(parsed['quantization_config'] ?? parsed, {
            ...{
              quant_method: 'gptq',
              bits,
              group_size: groupSize === 'channel' ? -1 : 32,
              sym: grid === 'full-range',
            },
            ...{ desc_act: false, checkpoint_format: format, lm_head: false },
          });
        }
      }
  });

test('mixed widths, layers and skip by glob', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, smallModel());
  const overrides: WeightOverride[] = [
    { layers: ['*self_attn*', '*.0.mlp.up_proj.weight'], bits: 8 },
    { layers: '*.1.self_attn.o_proj', bits: 2, groupSize: 16 },
    { layers: '*.1.self_attn.[qkv]_proj', levels: 3 },
    { layers: '*.1.self_attn.?_proj', groupSize: 64 },
  ];
  const report = await quantizeCheckpoint(input, output, {
    groupSize: 32,
    overrides,
    skip: '*.0.mlp.down_proj.weight',
  });
  const found = new Map(report.layers.map(({ name, bits, groupSize }) => [name, [bits, groupSize]]));
  t.is(found.size, 11);
  t.deepEqual(found.get('model.layers.0.self_attn.q_proj'), [8, 32]);
  t.deepEqual(found.get('model.layers.1.self_attn.o_proj'), [2, 64]);
  // The number of levels replaces that of bits which an earlier one gave.
  t.deepEqual(found.get('model.layers.1.self_attn.v_proj'), [2, 64]);
  t.deepEqual(found.get('model.layers.0.mlp.up_proj'), [8, 32]);
  t.deepEqual(found.get(up), [4, 32]);
  const config = readFileSync(join(output, 'config.json'), 'utf8');
  t.regex(config, /"re:\^model\\\\\.layers\\\\\.1\\\\\.self_attn\\\\\.o_proj\$"/);
  t.true(config.includes('"model.layers.0.mlp.down_proj"'));
  const gptq = join(folder, 'gptq');
  await quantizeCheckpoint(input, gptq, {
    format: 'gptq',
    groupSize: 32,
    overrides: [{ layers: '*.0.*[qkv]_proj*', bits: 8 }],
    layers: ['*proj*', 'lm_head'],
    skip: '*.1.*[qkv]_proj*',
  });
  const dynamic = JSON.parse(readFileSync(join(gptq, 'quantize_config.json'), 'utf8')) as {
    dynamic: Record<string, unknown>;
    lm_head: boolean;
  };
  t.deepEqual(dynamic.dynamic['+:^model\\.layers\\.0\\.self_attn\\.q_proj$'], {
    bits: 8,
    group_size: 32,
    sym: true,
  });
  t.deepEqual(dynamic.dynamic['-:^model\\.layers\\.1\\.self_attn\\.k_proj$'], {});
});

test('weights that a format cannot hold stay as they are, and it says so', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  writeFileSync(
    input,
    fileOf({ 'a.weight': tensor('F32', [5, 100], 1), 'b.weight': tensor('F32', [8, 64], 2) }),
  );
  const compressed = await quantizeCheckpoint(input, join(folder, 'a.safetensors'), { groupSize: 32 });
  t.deepEqual(
    compressed.layers.map(({ name }) => name),
    ['b'],
  );
  t.true(
    compressed.warnings.some((text) =>
      text.includes('"a.weight" is left as it is: its 100 inputs are no whole groups of 32'),
    ),
  );
  const gptq = await quantizeCheckpoint(input, join(folder, 'b.safetensors'), { format: 'gptq' });
  t.deepEqual(gptq.skipped, [
    {
      name: 'a.weight',
      reason: 'its 100 inputs fill no whole words: 8 codes do',
      bytes: 2000,
      choice: false,
    },
  ]);
  const plain = await quantizeCheckpoint(input, join(folder, 'c.safetensors'), {
    format: 'float',
    groupSize: 32,
  });
  t.is(plain.layers.length, 2);
});

test('a run that would quantize nothing is refused before it writes, with the reasons', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  writeFolder(input, [
    {
      ...{ 'a.weight': tensor('F32', [4, 256], 1), 'b.weight': tensor('F32', [4, 512], 2) },
      ...{ 'c.weight': tensor('F32', [4, 256], 3), 'norm.weight': tensor('F32', [256], 4) },
    },
  ]);
  for (const call of [quantizeCheckpoint, planCheckpoint])
    await t.throwsAsync(call(input, output, { groupSize: 100 }), {
      code: 'ERR_VERTEXQ_NO_LAYERS',
      message:
        /in has no weight that can be quantized in the format "compressed-tensors" with these options: "a\.weight", "c\.weight": its 256 inputs .*; "b\.weight": its 512 inputs /,
    });
  t.deepEqual(readdirSync(folder), ['in']);
});

test('a language model needs text to be fitted to', async (t) => {
  const options = { bits: 4 } as unknown as LanguageModelOptions;
  await t.throwsAsync(quantizeLanguageModel('in', 'out', options), {
    instanceOf: TypeError,
    message: /Expected the "calibration" option to be text .*, not undefined/,
  });
});

test('results do not depend on threads or memory', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in.safetensors');
  writeFileSync(input, fileOf({ 'a.weight': tensor('BF16', [4097, 300], 1) }));
  const outputs: Buffer[] = [];
  for (const options of [{ threads: 1 }, { threads: 2 }, { threads: 7, memory: 128 * 2 ** 20 }]) {
    const output = join(folder, `${outputs.length}.safetensors`);
    await quantizeCheckpoint(input, output, { groupSize: 100, ...options });
    outputs.push(readFileSync(output));
  }
  for (const output of outputs.slice(1)) sameBytes(t, output, outputs[0]!);
  t.false(existsSync(join(folder, '0.safetensors.vertexq')));
});

for (const [dtype, most, format] of [
  ['F16', [0xff, 0x7b], 'compressed-tensors'],
  ['BF16', [0x7f, 0x7f], 'compressed-tensors'],
  ['F32', [0xff, 0xff, 0x7f, 0x7f], 'compressed-tensors'],
  ['F16', [0xff, 0x7b], 'gptq'],
] as const)
  test(`trust 21: ${dtype} weights of ±the largest number, as ${format}`, async (t) => {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out')];
    const { data, ...rest } = tensor(dtype, [32, 64], 3);
    for (let i = 0; i < data.length; i += most.length) {
      data.set(most, i);
      if ((i / most.length) % 2 === 1) data[i + most.length - 1]! |= 0x80;
    }
    const name = 'model.layers.0.mlp.up_proj';
    writeFolder(input, [{ [`${name}.weight`]: { ...rest, data } }]);
    for (const bits of [4, 8] as const) {
      const to = `${output}-${bits}`;
      await quantizeCheckpoint(input, to, { format, bits, groupSize: 32, grid: 'integer' });
      const all = await readAll(to);
      const { values } =
        format === 'gptq' ? unpackGptq(all, name, bits, 1) : unpackCompressed(all, name, bits);
      t.true(apart(values, floats(new Uint8Array(data), dtype)) < 0.008);
      // From here on they would be infinite in the type.
      const beyond = { F16: 65520, BF16: (2 - 2 ** -8) * 2 ** 127, F32: Infinity }[dtype];
      t.true(values.every((value) => Math.abs(value) < beyond));
    }
  });
