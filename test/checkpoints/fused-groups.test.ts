import test, { type ExecutionContext } from 'ava';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, planCheckpoint, quantizeCheckpoint } from '../../lib/index';
import { temporaryFolder } from '../files/temporary-folder';
import { tensor, type Tensors, writeFolder } from './make';

const own = 'model.layers.0';

/** A block of a Llama, its parts in three shards. */
function llama(): Tensors[] {
  return [
    {
      'model.embed_tokens.weight': tensor('BF16', [96, 64], 1),
      [`${own}.mlp.gate_proj.weight`]: tensor('BF16', [128, 64], 2),
      [`${own}.self_attn.k_proj.weight`]: tensor('BF16', [32, 64], 3),
    },
    {
      [`${own}.mlp.up_proj.weight`]: tensor('BF16', [128, 64], 4),
      [`${own}.self_attn.v_proj.weight`]: tensor('BF16', [32, 64], 5),
    },
    {
      [`${own}.mlp.down_proj.weight`]: tensor('BF16', [64, 128], 6),
      [`${own}.self_attn.o_proj.weight`]: tensor('BF16', [64, 64], 7),
      [`${own}.self_attn.q_proj.weight`]: tensor('BF16', [64, 64], 8),
    },
  ];
}

function sample(t: ExecutionContext, shards: Tensors[]) {
  const folder = temporaryFolder(t);
  writeFolder(join(folder, 'in'), shards);
  return { input: join(folder, 'in'), output: join(folder, 'out') };
}

async function configOf(input: string, output: string, options: CheckpointOptions) {
  await quantizeCheckpoint(input, output, options);
  const config = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')) as {
    quantization_config: {
      dynamic: Record<string, unknown>;
      ignore: string[];
      config_groups: Record<string, { targets: string[] }>;
    };
  };
  return config.quantization_config;
}

test('case plain_llama: options that give the parts of a fused group several schemes are refused', async (t) => {
  const { input, output } = sample(t, llama());
  for (const [options, message] of [
    [
      { overrides: [{ layers: '*q_proj', bits: 8 }] },
      /all parts of "model\.layers\.0\.self_attn\.qkv_proj" need one scheme/,
    ],
    [
      { overrides: [{ layers: '*q_proj', groupSize: 16 }] },
      /"[^"]*q_proj\.weight": 4 bits, symmetric, groups of 16/,
    ],
    [{ overrides: [{ layers: '*q_proj', grid: 'asymmetric' }] }, /q_proj\.weight": 4 bits, asymmetric/],
    [{ skip: ['*v_proj'] }, /"[^"]*v_proj\.weight": left as they are \(skipped\)/],
    [{ skip: ['*up_proj'] }, /gate_up_proj/],
    [{ layers: ['*gate_proj', '*down_proj'] }, /up_proj\.weight": left as they are \(not among "layers"\)/],
    // The example that was in the documentation.
    [{ overrides: [{ layers: ['*down_proj*', '*up_proj*'], groupSize: 16 }] }, /gate_up_proj/],
  ] as [CheckpointOptions, RegExp][]) {
    for (const format of ['compressed-tensors', 'gptq'] as const) {
      if (format === 'gptq' && /asymmetric/.test(String(message))) continue;
      const given = { groupSize: 32, format, ...options };
      const expected = { instanceOf: RangeError, message };
      await t.throwsAsync(planCheckpoint(input, output, given), expected);
      await t.throwsAsync(quantizeCheckpoint(input, output, given), expected);
    }
    await t.notThrowsAsync(planCheckpoint(input, output, { groupSize: 32, format: 'float', ...options }));
  }
  await t.notThrowsAsync(
    planCheckpoint(input, output, {
      ...{ groupSize: 32, skip: '*[qkv]_proj' },
      overrides: [
        { layers: '*down_proj', bits: 8 },
        { layers: ['*gate_proj', '*up_proj'], bits: 3 },
      ],
    }),
  );
});

test('case plain_llama: the fused groups of other models', async (t) => {
  for (const [names, path] of [
    [['attention.self.query', 'attention.self.key', 'attention.self.value'], 'attention.self.qkv_proj'],
    [['block_sparse_moe.experts.0.w1', 'block_sparse_moe.experts.0.w3'], 'block_sparse_moe.experts'],
    [['mlp.experts.0.up_proj', 'mlp.experts.7.down_proj'], 'mlp.experts'],
    [['self_attn.q_a_proj', 'self_attn.kv_a_proj_with_mqa'], 'self_attn.fused_qkv_a_proj'],
    [['feed_forward.w1', 'feed_forward.w3'], 'feed_forward.gate_up_proj'],
  ] as const) {
    const { input, output } = sample(t, [
      Object.fromEntries(names.map((name) => [`${own}.${name}.weight`, tensor('BF16', [64, 64], 1)])),
    ]);
    const overrides = [{ layers: `*${names[0]}`, bits: 8 }];
    await t.throwsAsync(planCheckpoint(input, output, { overrides }), {
      instanceOf: RangeError,
      message: new RegExp(`all parts of "${own}\\.${path.replaceAll('.', '\\.')}" need`),
    });
    await t.notThrowsAsync(planCheckpoint(input, output, { bits: 8 }));
  }
});

test('case plain_llama: where the format cannot hold one part, the whole group is left, and it is said', async (t) => {
  const [first, ...rest] = llama();
  // No whole words of outputs for gptq.
  const shards = [{ ...first!, [`${own}.self_attn.k_proj.weight`]: tensor('BF16', [20, 64], 3) }, ...rest];
  const { input, output } = sample(t, shards);
  const report = await quantizeCheckpoint(input, output, { format: 'gptq', groupSize: 32 });
  t.deepEqual(
    report.skipped.filter(({ choice }) => !choice).map(({ name }) => name.split('.').at(-2)),
    ['k_proj', 'v_proj', 'q_proj'],
  );
  t.true(
    report.warnings.some((text) => /q_proj\.weight" is left as it is: readers make one of it and/.test(text)),
  );
});

test('case plain_llama: each reader finds the names that it asks for', async (t) => {
  const { input, output } = sample(t, llama());
  const overrides = [
    { layers: '*self_attn*', bits: 8 },
    { layers: '*o_proj', bits: 4 },
  ] as const;
  const found = ({ dynamic }: { dynamic: Record<string, unknown> }, prefix: string, name: string) =>
    Object.keys(dynamic).some(
      (pattern) => pattern.startsWith(prefix) && new RegExp(pattern.slice(2)).test(`${own}.${name}`),
    );
  const gptq = { format: 'gptq', groupSize: 32 } as const;
  const mixed = await configOf(input, output, { ...gptq, overrides });
  const skipped = await configOf(input, `${output}1`, { ...gptq, skip: ['*gate_proj', '*up_proj'] });
  // The parts for transformers and GPTQModel, the whole for vLLM.
  for (const name of ['q_proj', 'k_proj', 'v_proj', 'qkv_proj'])
    t.true(found(mixed, '+:', `self_attn.${name}`), name);
  for (const name of ['gate_proj', 'up_proj', 'gate_up_proj'])
    t.true(found(skipped, '-:', `mlp.${name}`), name);
  t.false(found(mixed, '+:', 'self_attn.o_proj') || found(skipped, '-:', 'mlp.down_proj'));
  const { config_groups: groups } = await configOf(input, `${output}2`, { groupSize: 32, overrides });
  const targets = Object.values(groups).find(({ targets: list }) =>
    list.some((name) => name.includes('q_proj')),
  )!;
  t.is(targets.targets.length, 3);
});

test('case plain_llama: the default grid is one that current readers load, another is said before work', async (t) => {
  const { input, output } = sample(t, llama());
  const symmetric = await planCheckpoint(input, output, { groupSize: 32 });
  t.false(symmetric.warnings.some((text) => text.includes('asymmetric')));
  const { config_groups: groups } = await configOf(input, output, { groupSize: 32 });
  t.like(groups['group_0'], { weights: { symmetric: true } });
  const asymmetric = await planCheckpoint(input, output, { groupSize: 32, grid: 'asymmetric' });
  t.true(asymmetric.warnings.some((text) => /transformers 5 .* does not load the zero points/.test(text)));
});

test('case fused experts: tensors of several experts that lie in no known way are left, and readers are told', async (t) => {
  const moe: Tensors = {
    [`${own}.self_attn.o_proj.weight`]: tensor('BF16', [64, 64], 1),
    [`${own}.mlp.gate.weight`]: tensor('BF16', [8, 64], 2),
    [`${own}.mlp.experts.gate_up_proj`]: tensor('BF16', [8, 64, 2048], 3),
    [`${own}.mlp.experts.down_proj`]: tensor('BF16', [8, 1024, 64], 4),
    // There gates and ups take turns.
    [`${own}.mlp.experts.gate_up_proj_bias`]: tensor('BF16', [8, 2048], 4),
    'vision.attn.in_proj_weight': tensor('BF16', [192, 64], 5),
    'vision.attn.out_proj.weight': tensor('BF16', [64, 64], 6),
    'vision.patch_embed.proj.weight': tensor('BF16', [64, 3, 14, 14], 7),
  };
  const { input, output } = sample(t, [moe]);
  const plan = await planCheckpoint(input, output);
  const said = (warnings: readonly string[]) =>
    warnings.some((text) =>
      /^3\.\d+ MB cannot be quantized and stay as they are: ".*experts\.gate_up_proj"/.test(text),
    );
  t.true(said(plan.warnings));
  const report = await quantizeCheckpoint(input, output);
  t.true(said(report.warnings));
  const unfit = report.skipped.filter(({ choice }) => !choice);
  t.deepEqual(unfit.map(({ name, bytes }) => [name, bytes]).sort(), [
    ['model.layers.0.mlp.experts.down_proj', 2 ** 20],
    ['model.layers.0.mlp.experts.gate_up_proj', 2 ** 21],
    ['model.layers.0.mlp.experts.gate_up_proj_bias', 8 * 2048 * 2],
    ['vision.attn.in_proj_weight', 192 * 64 * 2],
    ['vision.patch_embed.proj.weight', 64 * 3 * 14 * 14 * 2],
  ]);
  const { ignore } = await configOf(input, `${output}2`, {});
  t.true(ignore.includes(`${own}.mlp.experts`));
  const isIgnored = (name: string) =>
    ignore.some((entry) =>
      entry.startsWith('re:') ? new RegExp(entry.slice(3)).test(name) : entry === name,
    );
  t.true(isIgnored(`${own}.mlp.experts.0.gate_proj`));
  t.false(isIgnored('vision.attn.out_proj'));
  const { dynamic } = await configOf(input, `${output}3`, { format: 'gptq' });
  t.true(Object.keys(dynamic).some((entry) => new RegExp(entry.slice(2)).test(`${own}.mlp.experts`)));
});

test('case fused experts: experts and convolutions that are called weights are left, and readers are told', async (t) => {
  const names = ['block_sparse_moe.input_linear', 'block_sparse_moe.output_linear', 'mamba.conv1d'];
  const shapes = [[4, 256, 64], [4, 64, 128], [128, 1, 4]]; // prettier-ignore
  const left = names.map((name, i) => [`${own}.${name}.weight`, tensor('BF16', shapes[i]!, i)] as const);
  const { input, output } = sample(t, [
    {
      ...Object.fromEntries(left),
      [`${own}.mamba.in_proj.weight`]: tensor('BF16', [128, 64], 1),
      'conv.weight': tensor('BF16', [4, 1, 3], 1),
    },
  ]);
  const { ignore } = await configOf(input, output, {});
  const { dynamic } = await configOf(input, `${output}2`, { format: 'gptq' });
  const patterns = [
    ignore.map((entry) => RegExp(entry.startsWith('re:') ? entry.slice(3) : `^${entry}$`)),
    Object.keys(dynamic).map((entry) => RegExp(entry.slice(2))),
  ];
  for (const isTold of patterns.map((all) => (name: string) => all.some((one) => one.test(name)))) {
    for (const name of names) t.true(isTold(`${own}.${name}`), name);
    // What vLLM makes of them.
    t.true(isTold(`${own}.block_sparse_moe.experts`));
    t.true(isTold('conv'));
    t.false(isTold(`${own}.mamba.in_proj`));
  }
});
