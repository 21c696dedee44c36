// A Llama's GGUF file as the folder that Hugging Face libraries read: weights in float32, config, tokenizer.
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { dequantized } from '../../lib/containers/gguf/dequantize';
import type { GgufFile } from '../../lib/containers/gguf/file';
import { FileLayout, kindOf } from '../../lib/containers/safetensors/layout';
import { ConfigReader } from '../../lib/decoders/config';
import { permuted } from '../../lib/native/tensors';

/** Modules by their names in GGUF files: of a block, and others. */
const blockModules: Readonly<Record<string, string>> = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
};
const otherModules: Readonly<Record<string, string>> = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
};

type Config = ReturnType<typeof configOf>;

/** Writes the folder's files; `metadata` goes into the safetensors file. Throws for what is no Llama, or has what is not known here. */
export async function writeLlama(
  file: GgufFile,
  folder: string,
  metadata: ReadonlyMap<string, string>,
): Promise<void> {
  const reader = new ConfigReader(file.path, Object.fromEntries(file.header.metadata));
  const known = {
    'general.architecture': 'llama',
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'smollm',
  };
  for (const [key, value] of Object.entries(known))
    if (reader.text(key) !== value) throw reader.wrong(key, `"${value}"`);
  const config = configOf(reader, file);
  const { tokenizer, tokenizerConfig } = tokenizerOf(reader, file);
  for (const [name, content] of Object.entries({
    'config.json': config,
    'generation_config.json': specialIds(reader),
    'tokenizer.json': tokenizer,
    'tokenizer_config.json': { ...tokenizerConfig, model_max_length: config.max_position_embeddings },
  }))
    await writeFile(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
  await writeWeights(file, join(folder, 'model.safetensors'), metadata, config);
}

function configOf(reader: ConfigReader, file: GgufFile) {
  const count = (key: string, fallback?: number) => reader.count(`llama.${key}`, fallback);
  // A float32 as it was written before it was one.
  const number = (key: string, fallback?: number) =>
    Number(reader.number(`llama.${key}`, fallback).toPrecision(7));
  const [hidden, heads] = [count('embedding_length'), count('attention.head_count')];
  if (reader.has('llama.rope.scaling.type') || file.tensors.has('rope_freqs.weight'))
    throw new Error(`${file.path} scales its rotations, which this converter does not know`);
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    hidden_size: hidden,
    intermediate_size: count('feed_forward_length'),
    num_hidden_layers: count('block_count'),
    num_attention_heads: heads,
    num_key_value_heads: count('attention.head_count_kv', heads),
    head_dim: count('rope.dimension_count', hidden / heads),
    hidden_act: 'silu',
    rms_norm_eps: number('attention.layer_norm_rms_epsilon'),
    rope_theta: number('rope.freq_base', 10_000),
    max_position_embeddings: count('context_length'),
    vocab_size: textsOf(file, 'tokenizer.ggml.tokens').length,
    tie_word_embeddings: !file.tensors.has('output.weight'),
    attention_bias: false,
    mlp_bias: false,
    torch_dtype: 'float32',
    ...specialIds(reader),
  };
}

const specialNames = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' };

function specialIds(reader: ConfigReader): Record<string, number> {
  const found: Record<string, number> = {};
  for (const name of ['bos', 'eos', 'pad'] as const) {
    const key = `tokenizer.ggml.${specialNames[name]}_token_id`;
    if (reader.has(key)) found[`${name}_token_id`] = reader.count(key, undefined, 0);
  }
  return found;
}

function textsOf({ header, path }: GgufFile, key: string): readonly string[] {
  const value: unknown = header.metadata.get(key);
  if (Array.isArray(value)) return value as readonly string[];
  throw new Error(`${path}: "${key}" should be a list of texts`);
}

/** Byte-level BPE; before it, SmolLM's texts are split into digits and then as GPT-2's. */
function tokenizerOf(reader: ConfigReader, file: GgufFile) {
  const tokens = textsOf(file, 'tokenizer.ggml.tokens');
  const types = file.header.metadata.get('tokenizer.ggml.token_type') as Int32Array;
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  // 3: of control; 4: of the user's own.
  const added = tokens.flatMap((content, id) =>
    types[id] === 3 || types[id] === 4 ? [{ id, content, ...flags, special: types[id] === 3 }] : [],
  );
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  const digits = { type: 'Digits', individual_digits: true };
  const tokenizer = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: [digits, bytes] },
    post_processor: null,
    decoder: bytes,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: textsOf(file, 'tokenizer.ggml.merges'),
    },
  };
  const special = Object.entries(specialNames).map(
    ([name, key]) =>
      [`${name}_token`, tokens[reader.count(`tokenizer.ggml.${key}_token_id`, undefined, 0)]!] as const,
  );
  const tokenizerConfig = {
    tokenizer_class: 'GPT2Tokenizer',
    ...Object.fromEntries(special),
    add_prefix_space: false,
    add_bos_token: reader.flag('tokenizer.ggml.add_bos_token', false),
    clean_up_tokenization_spaces: false,
    chat_template: reader.text('tokenizer.chat_template'),
  };
  return { tokenizer, tokenizerConfig };
}

function nameOf(tensor: string, path: string): string {
  const [, block, module = ''] = /^(?:blk\.(\d+)\.)?(\w+)\.weight$/.exec(tensor) ?? [];
  const known = block === undefined ? otherModules : blockModules;
  if (!Object.hasOwn(known, module))
    throw new Error(`${path} has the tensor "${tensor}", which is none of a Llama's`);
  return `${block === undefined ? '' : `model.layers.${block}.`}${known[module]}.weight`;
}

/** One tensor after the other, so that no two are in memory. */
async function writeWeights(
  file: GgufFile,
  path: string,
  metadata: ReadonlyMap<string, string>,
  config: Config,
): Promise<void> {
  const layout = new FileLayout();
  const all = [...file.tensors].map(([tensor, { dtype, shape }]) => {
    const byteLength = 4 * shape.reduce((product, size) => product * size, 1);
    return { tensor, dtype, shape, byteLength, name: nameOf(tensor, file.path) };
  });
  for (const { name, shape, byteLength } of all) layout.count(name, 'F32', shape, byteLength);
  const places = all.map(({ name, shape, byteLength }) =>
    layout.place(name, kindOf('F32', shape), byteLength),
  );
  const head = Buffer.concat(layout.head(metadata));
  const target = await open(path, 'w');
  try {
    await target.write(head, 0, head.length, 0);
    for (const [i, { tensor, dtype, shape }] of all.entries()) {
      const values = await unpermuted(tensor, dequantized(dtype, await file.read(tensor)), shape, config);
      await target.write(new Uint8Array(values.buffer), 0, values.byteLength, head.length + places[i]!);
    }
  } finally {
    await target.close();
  }
}

/** GGUF Llamas have the entries of a head that are rotated together beside each other, Hugging Face's half a head apart. */
async function unpermuted(
  tensor: string,
  values: Float32Array,
  [rows = 1, columns = 1]: readonly number[],
  { num_attention_heads, num_key_value_heads }: Config,
): Promise<Float32Array> {
  const [, which] = /\.attn_([qk])\.weight$/.exec(tensor) ?? [];
  if (!which) return values;
  const heads = which === 'q' ? num_attention_heads : num_key_value_heads;
  return permuted(values, [heads, rows / heads / 2, 2, columns], [0, 2, 1, 3]);
}
