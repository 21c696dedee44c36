import test, { type ExecutionContext } from 'ava';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointOptions,
  inspectCheckpoint,
  planCheckpoint,
  quantizeCheckpoint,
  verifyCheckpoint,
} from '../../lib/index';
import { fusedExperts, type Weights, weightsOf, writeModel } from '../decoders/tiny';
import { temporaryFolder } from '../files/temporary-folder';
import { readAll } from './unpack';

const [experts, inter, hidden] = [3, 96, 64];
const weight = (name: string, shape: number[]) => ({ [name]: { shape, values: weightsOf(name, shape) } });

/** A block of experts, each matrix by itself. */
function separate(parts: readonly [string, string, string]): Weights {
  const list = parts[0] === 'w1' ? 'block_sparse_moe' : 'mlp';
  const weights: Weights = weight('model.layers.0.self_attn.o_proj.weight', [hidden, hidden]);
  for (let expert = 0; expert < experts; expert++)
    for (const [i, part] of parts.entries())
      Object.assign(
        weights,
        weight(
          `model.layers.0.${list}.experts.${expert}.${part}.weight`,
          i === 2 ? [hidden, inter] : [inter, hidden],
        ),
      );
  return weights;
}

function write(t: ExecutionContext, weights: Weights, dtype: 'F32' | 'BF16', config: object = {}): string {
  const folder = join(temporaryFolder(t), 'model');
  mkdirSync(folder);
  writeModel(folder, config, weights, dtype);
  return folder;
}

/** What a run writes, by names. */
async function written(t: ExecutionContext, input: string, options: CheckpointOptions) {
  const output = join(temporaryFolder(t), 'out');
  const report = await quantizeCheckpoint(input, output, options);
  const { tensors } = await readAll(output);
  const { faults } = await verifyCheckpoint(output, input);
  t.deepEqual(faults, []);
  const of = (name: string) => {
    const { dtype, shape, bytes } = tensors.get(name)!;
    return [dtype, shape.join(), Buffer.from(bytes).toString('base64')];
  };
  return {
    report,
    tensors: Object.fromEntries([...tensors.keys()].sort().map((name) => [name, of(name)])),
    output,
  };
}

const scheme = { bits: 3, groupSize: 32 } as const;
const mixtral = ['w1', 'w3', 'w2'] as const;
const usual = ['gate_proj', 'up_proj', 'down_proj'] as const;

for (const [parts, byInputs, dtype, options] of [
  [usual, false, 'BF16', { format: 'compressed-tensors' }],
  [usual, true, 'BF16', { format: 'compressed-tensors', grid: 'asymmetric', bits: 4 }],
  [mixtral, false, 'F32', { format: 'gptq_v2' }],
  [mixtral, true, 'F32', { format: 'gptq' }],
] as const)
  test(`experts in one tensor become what each by itself does: ${options.format}, ${byInputs ? 'transposed' : 'as usual'}`, async (t) => {
    const one = write(t, separate(parts), dtype);
    const fused = write(t, fusedExperts(separate(parts), byInputs), dtype);
    const [expected, found] = [
      await written(t, one, { ...scheme, ...options }),
      await written(t, fused, { ...scheme, ...options }),
    ];
    t.deepEqual(found.tensors, expected.tensors);
    t.deepEqual(
      found.report.layers.map(({ name, error }) => [name, error.weight]).sort(),
      expected.report.layers.map(({ name, error }) => [name, error.weight]).sort(),
    );
    t.deepEqual(await inspectOf(found.output), await inspectOf(expected.output));
    const plan = await planCheckpoint(fused, `${fused}-out`, { ...scheme, ...options });
    t.is(plan.bytes.after, found.report.bytes.after);
    t.is(plan.tensors.length, 3);
    t.true(plan.tensors.every(({ action }) => action === 'quantize'));
    t.is((await inspectCheckpoint(fused)).layers.length, 3);
  });

const inspectOf = async (folder: string) =>
  (await inspectCheckpoint(folder)).quantization!.weights.sort((a, b) => (a.name < b.name ? -1 : 1));

for (const byInputs of [false, true])
  test(`as floats, experts in one tensor stay there, ${byInputs ? 'transposed' : 'as usual'}`, async (t) => {
    for (const dtype of ['F32', 'BF16'] as const) {
      const options = { ...scheme, format: 'float', threads: 1 } as const;
      const one = await written(t, write(t, separate(usual), dtype), options);
      const fused = write(t, fusedExperts(separate(usual), byInputs), dtype);
      const found = await written(t, fused, options);
      const values = (name: string, shape: number[]) => ({
        shape,
        values: new Float32Array(weightsOf(name, shape).length),
      });
      t.is(Object.keys(found.tensors).length, 3);
      // What was written expert by expert, put together in the same way.
      const joined: Weights = {};
      for (const [name, [, shape, bytes]] of Object.entries(one.tensors)) {
        const own = values(name, shape!.split(',').map(Number));
        const stored = Buffer.from(bytes!, 'base64');
        own.values = own.values.map((_, i) =>
          dtype === 'F32'
            ? stored.readFloatLE(4 * i)
            : new Float32Array(Uint32Array.of(stored.readUInt16LE(2 * i) << 16).buffer)[0]!,
        );
        joined[name] = own;
      }
      const { tensors } = await readAll(write(t, fusedExperts(joined, byInputs), dtype));
      for (const [name, { bytes }] of tensors)
        t.is(found.tensors[name]![2], Buffer.from(bytes).toString('base64'), name);
    }
  });

test('what is told of one expert in a tensor is told of all, and readers need all or none', async (t) => {
  const fused = write(t, fusedExperts(separate(usual)), 'BF16');
  const plan = (options: CheckpointOptions) =>
    planCheckpoint(fused, `${fused}-out`, { ...scheme, ...options });
  await t.throwsAsync(plan({ skip: '*experts.down_proj' }), {
    instanceOf: RangeError,
    message: /all parts of "model\.layers\.0\.mlp\.experts" need one scheme/,
  });
  const float = await plan({ skip: '*experts.down_proj', format: 'float' });
  t.deepEqual(
    float.tensors.filter(({ action }) => action === 'copy').map(({ name, reason }) => [name, reason]),
    [['model.layers.0.mlp.experts.down_proj', 'skipped']],
  );
  const wider = await plan({ overrides: [{ layers: '*experts*', bits: 8 }] });
  t.deepEqual(wider.tensors.map(({ name, bits }) => [name.split('.').at(-1), bits]).sort(), [
    ['down_proj', 8],
    ['gate_up_proj', 8],
    ['weight', 3],
  ]);
  // 96 inputs are no whole groups of 64.
  const uneven = await plan({ groupSize: 64 });
  t.true(uneven.tensors.every(({ name, action }) => (action === 'copy') === name.includes('experts')));
  t.regex(uneven.warnings.join('\n'), /readers make one of it and ".*experts\.0\.down_proj\.weight"/);
});

const square: Weights = {
  ...weight('transformer.h.0.attn.c_attn.weight', [64, 192]),
  ...weight('transformer.h.0.attn.c_proj.weight', [64, 64]),
  ...weight('transformer.h.0.mlp.c_fc.weight', [64, 256]),
  ...weight('transformer.h.0.mlp.c_proj.weight', [256, 64]),
};

/** The same as most models have them. */
const turned: Weights = Object.fromEntries(
  Object.entries(square).map(([name, { shape, values }]) => {
    const [rows, cols] = shape as [number, number];
    return [
      name,
      {
        shape: [cols, rows],
        values: values.map((_, i) => values[(i % rows) * cols + Math.floor(i / rows)]!),
      },
    ];
  }),
);

test('weights of GPT-2, which lie transposed, become what others do', async (t) => {
  for (const dtype of ['F32', 'BF16'] as const) {
    const [own, other] = [write(t, square, dtype, { model_type: 'gpt2' }), write(t, turned, dtype)];
    for (const format of ['gptq', 'gptq_v2'] as const)
      t.deepEqual(
        (await written(t, own, { ...scheme, format })).tensors,
        (await written(t, other, { ...scheme, format })).tensors,
      );
    const options = { ...scheme, format: 'float' } as const;
    const [found, expected] = [await written(t, own, options), await written(t, other, options)];
    const bytes = dtype === 'F32' ? 4 : 2;
    for (const [name, [, , stored]] of Object.entries(found.tensors)) {
      const [rows, cols] = square[name]!.shape as [number, number];
      const [before, after] = [
        Buffer.from(expected.tensors[name]![2]!, 'base64'),
        Buffer.from(stored!, 'base64'),
      ];
      for (let i = 0; i < rows * cols; i += 7)
        t.is(
          after.readUIntLE(i * bytes, bytes),
          before.readUIntLE(((i % cols) * rows + Math.floor(i / cols)) * bytes, bytes),
        );
    }
    t.deepEqual(
      found.report.layers.map(({ name, shape, error }) => [name, shape, error.weight]),
      expected.report.layers.map(({ name, shape, error }) => [name, shape, error.weight]),
    );
  }
  await t.throwsAsync(
    quantizeCheckpoint(write(t, square, 'F32', { model_type: 'gpt2' }), join(temporaryFolder(t), 'out')),
    {
      code: 'ERR_VERTEXQ_NO_LAYERS',
      message: /transposed, .* no reader of this format takes one \("float" and "gptq" hold it\)/,
    },
  );
});
