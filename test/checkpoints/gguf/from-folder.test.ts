import test from 'ava';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GgufFile } from '../../../lib/containers/gguf/file';
import { unpacked } from '../../../lib/encodings/gguf/blocks';
import { ggufTypes } from '../../../lib/encodings/gguf/table';
import {
  inspectCheckpoint,
  planCheckpoint,
  type Progress,
  quantizeCheckpoint,
  verifyCheckpoint,
} from '../../../lib/index';
import { checkpointInspectionTable } from '../../../lib/reports/checkpoint-table';
import { temporaryFolder } from '../../files/temporary-folder';
import { bytesOf } from '../make';
import { type KindName, smallModel, vocabulary, writeSmall } from './models';
import { sameBytes } from '../../files/same-bytes';

/** Row r of what a GGUF file has is row `order(r)` of the checkpoint: halves of heads become pairs. */
const inPairs = (r: number) => r - (r % 16) + ((r % 2) * 8 + Math.floor((r % 16) / 2));

const floats = (values: Float32Array, dtype: string) =>
  Buffer.from(bytesOf(values, dtype as 'F32')).toString('hex');

for (const [name, dtype] of [
  ['llama', 'BF16'],
  ['llama, scaled', 'F16'],
  ['gemma3', 'F32'],
  ['phi3', 'F16'],
] as [KindName, 'F16'][])
  test(`the tensors of ${name}, kept in float16`, async (t) => {
    const folder = join(temporaryFolder(t), 'in');
    const output = join(temporaryFolder(t), 'out.gguf');
    writeSmall(folder, name, dtype);
    const { weights } = smallModel(name);
    const { layers, bytes } = await quantizeCheckpoint(folder, output, { format: 'gguf:f16' });
    t.deepEqual(layers, []);
    t.is(bytes.after, readFileSync(output).length);
    await GgufFile.with(output, async (file) => {
      const hex = async (own: string) => Buffer.from(await file.read(own)).toString('hex');
      const isGemma = name === 'gemma3';
      const fixed = name === 'llama, scaled' ? ['rope_freqs.weight'] : [];
      t.is(file.tensors.size, Object.keys(weights).length + fixed.length);
      const plus = (tensor: string) => weights[tensor]!.values.map((value) => value + (isGemma ? 1 : 0));
      const norm = await hex('blk.1.attn_norm.weight');
      t.is(norm, floats(plus('model.layers.1.input_layernorm.weight'), 'F32'));
      t.is(await hex('output_norm.weight'), floats(plus('model.norm.weight'), 'F32'));
      t.is(await hex('token_embd.weight'), floats(weights['model.embed_tokens.weight']!.values, 'F16'));
      if (name === 'phi3') {
        t.is(await hex('blk.0.attn_qkv.weight'), floats(weights['model.layers.0.self_attn.qkv_proj.weight']!.values, 'F16')); // prettier-ignore
        t.deepEqual(file.tensor('blk.0.ffn_up.weight').shape, [192, 64]);
        return;
      }
      for (const [own, module] of [
        ['attn_q', 'q_proj'],
        ['attn_k', 'k_proj'],
        ['attn_v', 'v_proj'],
      ] as const) {
        // prettier-ignore
        const tensor = `model.layers.1.self_attn.${module}`;
        const turned = (values: Float32Array, cols: number) =>
          values.map((_, i) => values[own === 'attn_v' || isGemma ? i : inPairs(Math.floor(i / cols)) * cols + (i % cols)]!); // prettier-ignore
        t.is(
          await hex(`blk.1.${own}.weight`),
          floats(turned(weights[`${tensor}.weight`]!.values, 64), 'F16'),
        );
        const bias = weights[`${tensor}.bias`];
        if (bias) t.is(await hex(`blk.1.${own}.bias`), floats(turned(bias.values, 1), 'F32'));
      }
      if (isGemma) t.deepEqual(await hex('blk.0.post_ffw_norm.weight'), floats(plus('model.layers.0.post_feedforward_layernorm.weight'), 'F32')); // prettier-ignore
      const { metadata } = file.header;
      const arch = isGemma ? 'gemma3' : 'llama';
      t.is(metadata.get('general.architecture'), arch);
      t.is(metadata.get(`${arch}.attention.head_count_kv`), 2);
      t.is(metadata.get(`${arch}.attention.sliding_window`), isGemma ? 8 : undefined);
      t.is(metadata.get('general.file_type'), 1);
      t.is(metadata.get('tokenizer.ggml.model'), isGemma ? 'llama' : 'gpt2');
      t.is((metadata.get('tokenizer.ggml.tokens') as string[]).length, vocabulary);
      t.is(metadata.get('tokenizer.ggml.add_bos_token'), isGemma);
      t.is(metadata.get('tokenizer.chat_template'), '{{ messages }}');
    });
  });

test('blocks: rows in their order, the head wider, what does not fit told beforehand', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'BF16');
  const { weights } = smallModel('llama');
  const plan = await planCheckpoint(folder, join(temporaryFolder(t), 'plan.gguf'), { format: 'gguf:q4_0' });
  t.true(plan.warnings.some((text) => text.includes('1 tensor (output.weight): 64 inputs are no whole blocks of Q6_K: Q8_0 instead, 8.5 bits a weight and not 6.5625'))); // prettier-ignore
  const output = join(temporaryFolder(t), 'out.gguf');
  const report = await quantizeCheckpoint(folder, output, { format: 'gguf:q4_0', skip: ['blk.1.ffn_*', 'model.layers.0.mlp.up_proj'] }); // prettier-ignore
  t.is(report.bytes.after, readFileSync(output).length);
  t.is(plan.tensors.length, report.layers.length + report.copied.tensors);
  await GgufFile.with(output, async (file) => {
    t.is(file.tensor('output.weight').dtype, 'Q8_0');
    t.deepEqual([file.tensor('blk.1.ffn_up.weight').dtype, file.tensor('blk.0.ffn_up.weight').dtype], ['BF16', 'BF16']); // prettier-ignore
    const name = 'blk.1.attn_q.weight';
    t.is(file.tensor(name).dtype, 'Q4_0');
    const values = await unpacked(ggufTypes.Q4_0, await file.read(name), [64, 64]);
    const original = weights['model.layers.1.self_attn.q_proj.weight']!.values;
    let [error, signal] = [0, 0];
    for (const [i, value] of values.entries()) {
      const wanted = original[inPairs(Math.floor(i / 64)) * 64 + (i % 64)]!;
      error += (value - wanted) ** 2;
      signal += wanted ** 2;
    }
    t.true(Math.abs(Math.sqrt(error / signal) - report.layers.find((own) => own.name === 'blk.1.attn_q')!.error.weight) < 1e-6); // prettier-ignore
    t.true(error < 0.02 * signal);
  });
});

test('a run that was interrupted is gone on with to the same bytes', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  writeSmall(folder, 'llama', 'F16');
  const ids = { data: BigInt64Array.from({ length: 480 }, (_, i) => BigInt((i * i + 7 * i) % 250)), dims: [24, 20], type: 'int64' }; // prettier-ignore
  const layers = ['blk.1.attn_*', 'blk.1.ffn_up'];
  const options = { format: 'gguf:q4_0', method: 'gptq', layers, calibration: { input_ids: ids } } as const;
  const [whole, other] = [join(temporaryFolder(t), 'a.gguf'), join(temporaryFolder(t), 'b.gguf')];
  const report = await quantizeCheckpoint(folder, whole, options);
  const { error, method } = report.layers.find(({ name }) => name === 'blk.1.attn_q')!;
  t.is(method, 'gptq');
  t.true(error.holdout !== null && error.holdout < 0.2);
  const controller = new AbortController();
  const { signal } = controller;
  const onProgress = ({ layer }: Progress) => layer === 'blk.1.ffn_up' && controller.abort();
  const stopped = await quantizeCheckpoint(folder, other, { ...options, signal, onProgress }).catch(
    () => null,
  );
  t.is(stopped, null);
  const { resumed } = await quantizeCheckpoint(folder, other, { ...options, resume: true });
  t.true(resumed > 0);
  sameBytes(t, readFileSync(other), readFileSync(whole));
});

test('what GGUF files do not tell is refused with what it is', async (t) => {
  const output = join(temporaryFolder(t), 'out.gguf');
  const refused = async (name: KindName, change: (folder: string) => void, message: RegExp, code: string) => {
    const folder = join(temporaryFolder(t), 'in');
    writeSmall(folder, name);
    change(folder);
    await t.throwsAsync(quantizeCheckpoint(folder, output, { format: 'gguf:q8_0' }), { code, message });
  };
  const edit = (file: string, fields: object) => (folder: string) => {
    const path = join(folder, file);
    writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...fields }));
  };
  const config = (fields: object) => edit('config.json', fields);
  const decoder = 'ERR_VERTEXQ_DECODER';
  await refused('gemma3', config({ query_pre_attn_scalar: 20 }), /scores are multiplied with/, decoder);
  await refused('gemma3', config({ rope_local_base_freq: 2e4 }), /base of 10000/, decoder);
  await refused(
    'gemma3',
    config({ sliding_window_pattern: 2 }),
    /block 1 has a window|block 1 sees all/,
    decoder,
  );
  await refused('llama', config({ hidden_act: 'gelu' }), /the activation is gelu, not silu/, decoder);
  await refused('llama', config({ rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 32 } }), /scaled as "yarn"/, decoder); // prettier-ignore
  await refused('qwen2', config({ rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 } }), /scaled as "llama3" are not known in GGUF files of "qwen2"/, decoder); // prettier-ignore
  await refused('smollm3', config({ no_rope_layers: [1, 1, 1, 1] }), /block 3 rotates, and GGUF files of "smollm3" have every 4th do without/, decoder); // prettier-ignore
  await refused('gpt2', config({ activation_function: 'relu' }), /the activation is relu, not gelu-tanh/, decoder); // prettier-ignore
  const tokenizer = 'ERR_VERTEXQ_TOKENIZER';
  await refused('llama', edit('tokenizer.json', { pre_tokenizer: { type: 'Whitespace' } }), /splits texts in a way that has no name/, tokenizer); // prettier-ignore
  await refused('llama', edit('tokenizer.json', { normalizer: { type: 'Lowercase' } }), /"normalizer" \{"type":"Lowercase"\}/, tokenizer); // prettier-ignore
  await refused(
    'llama',
    edit('tokenizer_config.json', { bos_token: '<none>' }),
    /has no token "<none>"/,
    tokenizer,
  );
  await refused(
    'gemma3',
    edit('tokenizer.json', { normalizer: { type: 'NFKC' } }),
    /has the normalizer/,
    tokenizer,
  );
  for (const options of [{ bits: 4 }, { groupSize: 32 }, { overrides: [{ layers: '*', bits: 2 }] }, { activations: 'x' }] as const) // prettier-ignore
    await t.throwsAsync(quantizeCheckpoint('none', output, { format: 'gguf:q8_0', ...options }), { instanceOf: RangeError, message: /is not for the format "gguf:q8_0"/ }); // prettier-ignore
});

test('inspect shows keys and tensors, in few bits and others', async (t) => {
  const folder = join(temporaryFolder(t), 'in');
  const output = join(temporaryFolder(t), 'out.gguf');
  writeSmall(folder, 'qwen3');
  await quantizeCheckpoint(folder, output, { format: 'gguf:q8_0', skip: 'blk.0.ffn_down' });
  const found = await inspectCheckpoint(output);
  t.deepEqual(found.layers.map(({ name, dtype }) => [name, dtype]), [['blk.0.ffn_down.weight', 'F16']]); // prettier-ignore
  t.is(found.quantization?.format, 'Q8_0');
  t.like(found.quantization?.weights.find(({ name }) => name === 'blk.1.ffn_up.weight'), { shape: [96, 64], bits: 8, groupSize: 32, bytes: 6528 }); // prettier-ignore
  t.is(found.metadata['qwen3.block_count'], '2');
  t.true(found.metadata['tokenizer.ggml.merges']?.startsWith('8 entries: "t h", "th e"'));
  t.is(found.bytes.files, readFileSync(output).length);
  const table = checkpointInspectionTable(found, { color: false, width: 120, terminal: false } as never);
  for (const part of ['blk.1.attn_q.weight', 'general.architecture = qwen3', 'quantized, gguf (Q8_0)'])
    t.true(table.includes(part), part);
  t.deepEqual((await verifyCheckpoint(output)).faults, []);
});
