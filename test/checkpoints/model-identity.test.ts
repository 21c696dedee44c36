import test, { type ExecutionContext } from 'ava';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspectCheckpoint, planCheckpoint, quantizeCheckpoint } from '../../lib/index';
import { checkpointInspectionTable } from '../../lib/reports/checkpoint-table';
import { temporaryFolder } from '../files/temporary-folder';
import { fileOf, smallModel, tensor, type Tensors, writeFolder } from './make';

/** One block as GPT-2 has them, its matrices [in, out]; with a linear head besides. */
function gpt2(prefix = ''): Tensors {
  const own = `${prefix}h.0`;
  return {
    [`${prefix}wte.weight`]: tensor('F32', [320, 96], 1),
    [`${own}.ln_1.weight`]: tensor('F32', [96], 2),
    [`${own}.attn.c_attn.weight`]: tensor('F32', [96, 288], 3),
    [`${own}.attn.c_attn.bias`]: tensor('F32', [288], 4),
    [`${own}.attn.c_proj.weight`]: tensor('F32', [96, 96], 5),
    [`${own}.attn.c_proj.bias`]: tensor('F32', [96], 6),
    [`${own}.mlp.c_fc.weight`]: tensor('F32', [96, 384], 7),
    [`${own}.mlp.c_proj.weight`]: tensor('F32', [384, 96], 8),
    'adapter.weight': tensor('F32', [32, 96], 9),
    'adapter.bias': tensor('F32', [32], 9),
  };
}

async function chosen(t: ExecutionContext, tensors: Tensors, config: object | null, bySelf = false) {
  const folder = join(temporaryFolder(t), 'in');
  mkdirSync(folder);
  const file = join(folder, 'model.safetensors');
  writeFileSync(file, fileOf(tensors));
  if (config) writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
  const plan = await planCheckpoint(bySelf ? file : folder, `${folder}-out`, { groupSize: 32 });
  return plan.tensors.filter(({ action }) => action === 'quantize').map(({ name }) => name);
}

test('case conv1d_layout: transposed matrices are known by configs wherever they stand, and by tensors', async (t) => {
  for (const [config, bySelf] of [
    [{ model_type: 'gpt2' }, false],
    [{ model_type: 'gpt2' }, true],
    [{ architectures: ['GPT2LMHeadModel'] }, false],
    [{ architectures: ['GPT2LMHeadModel'] }, true],
    [{ model_type: 'vision-encoder-decoder', decoder: { model_type: 'gpt2' } }, false],
    [{ model_type: 'x', text_config: { architectures: ['GPT2Model'] } }, false],
    // Nothing but the tensors tells: biases, norms, and for square ones what the others are.
    [{}, false],
    [null, true],
  ] as const)
    t.deepEqual(
      await chosen(t, gpt2('transformer.'), config, bySelf),
      ['adapter.weight'],
      JSON.stringify(config),
    );
});

test('case conv1d_layout: without biases, norms and configs, widths tell', async (t) => {
  const bare = Object.fromEntries(Object.entries(gpt2()).filter(([name]) => !/bias|ln_|wte/.test(name)));
  t.deepEqual(await chosen(t, bare, {}), ['adapter.weight']);
  t.deepEqual(await chosen(t, bare, null, true), ['adapter.weight']);
  // As usual: what is made is wider than what goes in.
  for (const [name, { shape }] of Object.entries(bare)) bare[name] = tensor('F32', [...shape].reverse(), 3);
  t.is((await chosen(t, bare, {})).length, 5);
});

// A guard: 0.1.0 passes it.
test('case conv1d_layout: the same names lie as usual in other models', async (t) => {
  const tensors = gpt2();
  for (const [name, shape] of [
    ['h.0.attn.c_attn.weight', [288, 96]],
    ['h.0.mlp.c_fc.weight', [384, 96]],
    ['h.0.mlp.c_proj.weight', [96, 384]],
  ] as const)
    tensors[name] = tensor('F32', [...shape], 3);
  t.is((await chosen(t, tensors, { model_type: 'gpt_bigcode' })).length, 5);
  t.is((await chosen(t, tensors, null, true)).length, 5);
});

test('case conv1d_layout: a file given by itself is not said to lack the config beside it', async (t) => {
  const folder = temporaryFolder(t);
  const file = join(folder, 'model.safetensors');
  writeFileSync(file, fileOf({ 'a.weight': tensor('F32', [32, 64], 1) }));
  const said = async () => (await planCheckpoint(file, join(folder, 'out.safetensors'))).warnings.join('\n');
  t.regex(await said(), /has no config\.json with it/);
  writeFileSync(join(folder, 'config.json'), '{"model_type":"llama"}');
  t.regex(await said(), /given without its folder, whose config\.json stays as it is/);
  // What lies there may be of something else.
  writeFileSync(join(folder, 'config.json'), 'no JSON');
  t.regex(await said(), /has no config\.json with it/);
});

const bytes = (dtype: string, shape: number[], width: number) => ({
  dtype,
  shape,
  data: new Uint8Array(shape.reduce((product, dim) => product * dim, width)).fill(1),
});
const up = 'model.layers.0.mlp.up_proj';
const gate = 'model.layers.0.mlp.gate_proj';

test('case already_fp8: weights that are quantized already are known by configs and by tensors', async (t) => {
  const float: Tensors = { 'model.layers.0.self_attn.o_proj.weight': tensor('BF16', [64, 64], 1) };
  const f8 = {
    [`${up}.weight`]: bytes('F8_E4M3', [128, 64], 1),
    [`${up}.weight_scale_inv`]: tensor('F32', [1, 1], 2),
  };
  for (const [what, tensors, config, other] of [
    ['F8', f8, {}],
    ['F8 without scales', { [`${up}.weight`]: bytes('F8_E5M2', [128, 64], 1) }, {}],
    ['int8', { [`${up}.weight`]: bytes('I8', [128, 64], 1), [`${up}.SCB`]: tensor('F32', [128], 1) }, {}],
    [
      '4 bits in bytes',
      { [`${up}.weight`]: bytes('U8', [4096, 1], 1), [`${up}.weight.absmax`]: tensor('F32', [64], 1) },
      {},
    ],
    [
      'MLX',
      { [`${up}.weight`]: bytes('U32', [128, 8], 4), [`${up}.scales`]: tensor('F16', [128, 1], 1) },
      {},
    ],
    [
      'GPTQ',
      { [`${up}.qweight`]: bytes('I32', [8, 128], 4), [`${up}.qzeros`]: bytes('I32', [2, 16], 4) },
      {},
    ],
    ['packed', { [`${up}.weight_packed`]: bytes('I32', [128, 8], 4) }, {}],
    [
      'MXFP4',
      {
        'model.experts.down_proj_blocks': bytes('U8', [4, 64, 16], 1),
        'model.experts.down_proj_scales': bytes('U8', [4, 64], 1),
      },
      {},
    ],
    [
      'a name of its own',
      { [`${up}.codes`]: bytes('U8', [128, 8], 1), [`${up}.scales`]: tensor('F16', [128, 1], 1) },
      {},
    ],
    ['config', {}, { quantization_config: { quant_method: 'fp8' } }],
    ['nested', {}, { text_config: { quantization_config: { quant_method: 'awq' } } }],
    ['nested twice', {}, { thinker_config: { text_config: { compression_config: { format: 'x' } } } }],
    ['MLX config', {}, { quantization: { bits: 4, group_size: 64 } }],
    ['ChatGLM', {}, { quantization_bit: 4 }],
    ['quantize_config.json', {}, {}, 'quantize_config.json'],
    ['hf_quant_config.json', {}, {}, 'hf_quant_config.json'],
  ] as [string, Tensors, object, string?][]) {
    const folder = temporaryFolder(t);
    const [input, output] = [join(folder, 'in'), join(folder, 'out')];
    writeFolder(input, [{ ...float, ...tensors }], config);
    if (other !== undefined) writeFileSync(join(input, other), '{}');
    const expected = {
      code: 'ERR_VERTEXQ_UNSUPPORTED',
      message: /is quantized already: .*--allow-quantized/,
    };
    await t.throwsAsync(planCheckpoint(input, output), expected, what);
    await t.throwsAsync(quantizeCheckpoint(input, output, { format: 'float' }), expected, what);
    await t.throwsAsync(
      quantizeCheckpoint(join(input, 'model-00001-of-00001.safetensors'), `${output}.safetensors`),
      expected,
      `${what}, a file`,
    );
    t.false(existsSync(output));
    // What the run stops for is told before.
    const { message } = await t.throwsAsync(quantizeCheckpoint(input, output));
    const inspection = await inspectCheckpoint(input);
    const [first] = inspection.quantizedAlready as [string];
    t.true(message.includes(first), `${what}: ${first}`);
    const table = checkpointInspectionTable(inspection, { color: false, width: undefined });
    t.true(table.includes(`\nquantized already: ${first}`), table);
  }
  const folder = temporaryFolder(t);
  writeFolder(folder, [float], {});
  const inspection = await inspectCheckpoint(folder);
  t.deepEqual(inspection.quantizedAlready, []);
  t.notRegex(checkpointInspectionTable(inspection, { color: false, width: undefined }), /already/);
});

test('case already_fp8: what only sounds like it is not taken for it', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  writeFolder(
    input,
    [
      {
        'a.weight': tensor('BF16', [64, 64], 1),
        'a.q_norm.scale': tensor('BF16', [64], 1),
        logit_scale: tensor('F32', [], 1),
        'embeddings.position_ids': bytes('I64', [1, 77], 8),
        'attn.relative_position_index': bytes('I64', [49, 49], 8),
        'layer_scale.gamma': tensor('F32', [64], 1),
        'mask.bias': bytes('BOOL', [8, 8], 1),
      },
    ],
    { quantization_config: null, quantization_bit: 0, text_config: { quantization: {} } },
  );
  const report = await quantizeCheckpoint(input, join(folder, 'out'));
  t.is(report.layers.length, 1);
  t.deepEqual(report.skipped.map(({ name }) => name).sort(), [
    'a.q_norm.scale',
    'layer_scale.gamma',
    'logit_scale',
  ]);
});

test('case already_fp8: with allowQuantized they stay, whole, and it is said', async (t) => {
  const folder = temporaryFolder(t);
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  const f8: Tensors = Object.fromEntries(
    [up, gate].flatMap((module): [string, Tensors[string]][] => [
      [`${module}.weight`, bytes('F8_E4M3', [128, 64], 1)],
      [`${module}.weight_scale_inv`, tensor('F32', [1, 1], 2)],
    ]),
  );
  writeFolder(input, [{ ...f8, 'model.layers.0.self_attn.o_proj.weight': tensor('BF16', [64, 64], 1) }], {});
  const report = await quantizeCheckpoint(input, output, { allowQuantized: true });
  t.deepEqual(
    report.layers.map(({ name }) => name),
    ['model.layers.0.self_attn.o_proj'],
  );
  t.deepEqual(
    report.skipped.map(({ name, choice }) => [name, choice]).sort(),
    Object.keys(f8)
      .sort()
      .map((name) => [name, true]),
  );
  t.true(report.warnings.some((text) => text.startsWith('2 weights are quantized already')));
  const config = readFileSync(join(output, 'config.json'), 'utf8');
  for (const module of [up, gate]) t.true(config.includes(`"${module}"`));
  // Two descriptions of one model would contradict each other.
  writeFileSync(join(input, 'config.json'), '{"quantization_config":{"quant_method":"fp8"}}');
  await t.throwsAsync(quantizeCheckpoint(input, `${output}2`, { allowQuantized: true }), {
    code: 'ERR_VERTEXQ_UNSUPPORTED',
    message: /cannot stand together/,
  });
  await quantizeCheckpoint(input, `${output}3`, { allowQuantized: true, format: 'float' });
  t.is(
    readFileSync(join(`${output}3`, 'config.json'), 'utf8'),
    readFileSync(join(input, 'config.json'), 'utf8'),
  );
});

test('case head_names: a quantized head is told apart from the embedding', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  const tie = 'tie_word_embeddings';
  for (const [i, [config, format, expected]] of (
    [
      [{ [tie]: true }, 'compressed-tensors', { [tie]: false }],
      [{ [tie]: true }, 'gptq', { [tie]: false }],
      [{ [tie]: true }, 'float', { [tie]: false }],
      [{ model_type: 'llama' }, 'compressed-tensors', { [tie]: false }],
      [{ text_config: { [tie]: true } }, 'compressed-tensors', { text_config: { [tie]: false } }],
    ] as const
  ).entries()) {
    writeFolder(input, smallModel(), config);
    const output = join(folder, `out${i}`);
    await quantizeCheckpoint(input, output, { bits: 8, format, layers: ['*_proj', '*lm_head'] });
    t.like(JSON.parse(readFileSync(join(output, 'config.json'), 'utf8')), expected);
  }
  // Only the head is there, and is the embedding.
  const head: Tensors = { 'lm_head.weight': tensor('BF16', [100, 64], 1) };
  writeFolder(join(folder, 'alone'), [head], { [tie]: true });
  await t.throwsAsync(planCheckpoint(join(folder, 'alone'), join(folder, 'x'), { layers: 'lm_head' }), {
    instanceOf: RangeError,
    message: /"lm_head\.weight" is the embedding too/,
  });
});

test('case head_names: what no reader takes packed is refused with the reason', async (t) => {
  const folder = temporaryFolder(t);
  const input = join(folder, 'in');
  const shards = smallModel();
  shards[0]!['model.layers.0.mlp.gate.weight'] = tensor('BF16', [8, 64], 1);
  writeFolder(input, shards);
  for (const [options, message] of [
    [
      { layers: '*' },
      /picks "model\.embed_tokens\.weight", an embedding: no reader takes one that is packed/,
    ],
    [{ layers: '*', format: 'gptq' }, /an embedding/],
    [{ layers: '*', skip: '*embed*' }, /picks "model\.layers\.0\.mlp\.gate\.weight", a router of experts/],
  ] as const)
    await t.throwsAsync(planCheckpoint(input, join(folder, 'out'), options), {
      instanceOf: RangeError,
      message,
    });
  t.is(
    (await planCheckpoint(input, join(folder, 'out'), { layers: '*', format: 'float' })).warnings.length,
    2,
  );
});
