import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Weights, weightsOf, writeModel } from '../../decoders/tiny';

/** A small language model with a tokenizer. */
export interface SmallModel {
  config: Record<string, unknown>;
  weights: Weights;
}

const sizes = { hidden: 64, feedForward: 96, heads: 4, keyValueHeads: 2, headSize: 16, blocks: 2 };
/** Tokens: bytes, merges, special ones; the network knows a few more. */
export const vocabulary = 272;

interface Kind {
  /** Of the config, where it differs. */
  config: Record<string, unknown>;
  biases?: boolean;
  headNorms?: boolean;
  /** Norms of all of a token's queries and keys, and none before attention and feed forward. */
  behind?: boolean;
  around?: boolean;
  blocks?: number;
  tied?: boolean;
  fused?: boolean;
  /** Whether there is an expert beside the others that all tokens go to. */
  shared?: boolean;
  /** The router, what experts' numbers come behind, and their gate, up and down. */
  experts?: readonly [router: string, list: string, gate: string, up: string, down: string];
}

const expertCount = 4;

const gemma = { hidden_activation: 'gelu_pytorch_tanh', hidden_act: 'gelu_pytorch_tanh', query_pre_attn_scalar: 16, sliding_window: 8, rms_norm_eps: 1e-6, bos_token_id: 2, eos_token_id: 1 }; // prettier-ignore
const kinds = {
  llama: { config: { architectures: ['LlamaForCausalLM'], model_type: 'llama', rope_theta: 5e4 } },
  'llama, scaled': {
    config: {
      ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', attention_bias: true, rope_theta: 5e5 },
      rope_scaling: { rope_type: 'llama3', factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64 }, // prettier-ignore
    },
    tied: true,
    biases: true,
  },
  qwen2: { config: { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' }, biases: true },
  qwen3: {
    config: { architectures: ['Qwen3ForCausalLM'], model_type: 'qwen3' },
    headNorms: true,
    tied: true,
  },
  gemma2: {
    config: { architectures: ['Gemma2ForCausalLM'], model_type: 'gemma2', ...gemma, attn_logit_softcapping: 50, final_logit_softcapping: 30 }, // prettier-ignore
    around: true,
    tied: true,
  },
  gemma3: {
    config: { architectures: ['Gemma3ForCausalLM'], model_type: 'gemma3_text', ...gemma, rope_theta: 1e6, rope_local_base_freq: 1e4, sliding_window_pattern: 6 }, // prettier-ignore
    headNorms: true,
    around: true,
    tied: true,
  },
  smollm3: { config: { architectures: ['SmolLM3ForCausalLM'], model_type: 'smollm3', rope_theta: 5e6 }, tied: true, blocks: 4 }, // prettier-ignore
  olmo2: { config: { architectures: ['Olmo2ForCausalLM'], model_type: 'olmo2' }, behind: true },
  granite: {
    config: {
      ...{ architectures: ['GraniteForCausalLM'], model_type: 'granite', attention_multiplier: 0.125 },
      ...{ embedding_multiplier: 3, residual_multiplier: 0.75, logits_scaling: 2 },
    },
    tied: true,
  },
  gpt2: {
    config: { architectures: ['GPT2LMHeadModel'], model_type: 'gpt2', activation_function: 'gelu_new' },
    tied: true,
  },
  phi3: { config: { architectures: ['Phi3ForCausalLM'], model_type: 'phi3' }, fused: true },
  mixtral: {
    config: { architectures: ['MixtralForCausalLM'], model_type: 'mixtral', num_local_experts: expertCount, num_experts_per_tok: 2 }, // prettier-ignore
    experts: ['block_sparse_moe.gate', 'block_sparse_moe.experts', 'w1', 'w3', 'w2'],
  },
  qwen2moe: {
    config: {
      ...{ architectures: ['Qwen2MoeForCausalLM'], model_type: 'qwen2_moe', num_experts: expertCount },
      ...{ num_experts_per_tok: 2, moe_intermediate_size: 32, shared_expert_intermediate_size: 96, norm_topk_prob: false }, // prettier-ignore
    },
    biases: true,
    experts: ['mlp.gate', 'mlp.experts', 'gate_proj', 'up_proj', 'down_proj'],
    shared: true,
  },
  qwen3moe: {
    config: {
      ...{ architectures: ['Qwen3MoeForCausalLM'], model_type: 'qwen3_moe', num_experts: expertCount },
      ...{ num_experts_per_tok: 2, moe_intermediate_size: 32, norm_topk_prob: true, decoder_sparse_step: 1, mlp_only_layers: [] }, // prettier-ignore
    },
    headNorms: true,
    experts: ['mlp.gate', 'mlp.experts', 'gate_proj', 'up_proj', 'down_proj'],
  },
} satisfies Record<string, Kind>;
export type KindName = keyof typeof kinds;
export const kindNames = Object.keys(kinds) as KindName[];

function addTo(weights: Weights, tensor: string, shape: number[]): void {
  const values = weightsOf(tensor, shape);
  // Small ones, so that few tokens are as likely as others.
  weights[tensor] = { shape, values: shape.length === 1 ? values : values.map((value) => value / 2) };
}

/** GPT-2's config has other keys, and its matrices lie [inFeatures, outFeatures]. */
function smallGpt2(
  { config, tied }: Kind,
  { hidden, heads, blocks }: Record<'hidden' | 'heads' | 'blocks', number>,
): SmallModel {
  // prettier-ignore
  const weights: Weights = {};
  const add = (module: string, ...shape: number[]) => addTo(weights, `transformer.${module}`, shape);
  const positions = 128;
  add('wte.weight', vocabulary, hidden);
  add('wpe.weight', positions, hidden);
  for (let block = 0; block < blocks; block++)
    for (const [module, inputs, outputs] of [
      ...([
        ['ln_1', hidden],
        ['ln_2', hidden],
      ] as const),
      ...([
        ['attn.c_attn', hidden, 3 * hidden],
        ['attn.c_proj', hidden, hidden],
      ] as const),
      ...([
        ['mlp.c_fc', hidden, 4 * hidden],
        ['mlp.c_proj', 4 * hidden, hidden],
      ] as const),
    ]) {
      add(`h.${block}.${module}.weight`, ...(outputs === undefined ? [inputs] : [inputs, outputs]));
      add(`h.${block}.${module}.bias`, outputs ?? inputs);
    }
  for (const end of ['weight', 'bias']) add(`ln_f.${end}`, hidden);
  const sizes = { n_embd: hidden, n_head: heads, n_layer: blocks, n_positions: positions };
  const tokens = { vocab_size: vocabulary, bos_token_id: 257, eos_token_id: 258 };
  return { config: { ...sizes, ...tokens, tie_word_embeddings: tied === true, ...config }, weights };
}

/** A model of a kind; its weights are exact in any float type. */
export function smallModel(name: KindName, own: Partial<typeof sizes> = {}): SmallModel {
  const kind: Kind = kinds[name];
  const { hidden, feedForward, heads, keyValueHeads, headSize, blocks } = {
    ...{ ...sizes, ...(kind.blocks !== undefined && { blocks: kind.blocks }) },
    ...own,
  };
  if (name === 'gpt2') return smallGpt2(kind, { hidden, heads, blocks });
  const config = {
    ...{
      hidden_size: hidden,
      intermediate_size: feedForward,
      num_hidden_layers: blocks,
      vocab_size: vocabulary,
    },
    ...{ num_attention_heads: heads, num_key_value_heads: keyValueHeads, head_dim: headSize },
    ...{
      max_position_embeddings: 128,
      rms_norm_eps: 1e-5,
      hidden_act: 'silu',
      tie_word_embeddings: kind.tied === true,
    },
    ...{ bos_token_id: 257, eos_token_id: 258 },
    ...kind.config,
  };
  const weights: Weights = {};
  const add = (tensor: string, ...shape: number[]) => addTo(weights, tensor, shape);
  const linear = (module: string, rows: number, cols: number, biased = false) => {
    add(`${module}.weight`, rows, cols);
    if (biased) add(`${module}.bias`, rows);
  };
  add('model.embed_tokens.weight', vocabulary, hidden);
  const { biases = false, headNorms = false, around = false, behind = false } = kind;
  const [queries, keys] = [heads * headSize, keyValueHeads * headSize];
  for (let block = 0; block < blocks; block++) {
    const at = (module: string) => `model.layers.${block}.${module}`;
    if (kind.fused) {
      linear(at('self_attn.qkv_proj'), queries + 2 * keys, hidden);
      linear(at('mlp.gate_up_proj'), 2 * feedForward, hidden);
    } else {
      linear(at('self_attn.q_proj'), queries, hidden, biases);
      linear(at('self_attn.k_proj'), keys, hidden, biases);
      linear(at('self_attn.v_proj'), keys, hidden, biases);
      if (!kind.experts) linear(at('mlp.gate_proj'), feedForward, hidden);
      if (!kind.experts) linear(at('mlp.up_proj'), feedForward, hidden);
    }
    linear(at('self_attn.o_proj'), hidden, queries, name === 'llama, scaled');
    if (kind.experts) {
      const [router, list, gate, up, down] = kind.experts;
      const size = Number(kind.config['moe_intermediate_size'] ?? feedForward);
      linear(at(router), expertCount, hidden);
      if (kind.shared) {
        linear(at('mlp.shared_expert_gate'), 1, hidden);
        for (const part of ['gate_proj', 'up_proj']) linear(at(`mlp.shared_expert.${part}`), feedForward, hidden); // prettier-ignore
        linear(at('mlp.shared_expert.down_proj'), hidden, feedForward);
      }
      for (let expert = 0; expert < expertCount; expert++) {
        for (const part of [gate, up]) linear(at(`${list}.${expert}.${part}`), size, hidden);
        linear(at(`${list}.${expert}.${down}`), hidden, size);
      }
    } else linear(at('mlp.down_proj'), hidden, feedForward);
    if (headNorms) for (const norm of ['q_norm', 'k_norm']) add(at(`self_attn.${norm}.weight`), headSize);
    if (behind) {
      add(at('self_attn.q_norm.weight'), queries);
      add(at('self_attn.k_norm.weight'), keys);
    }
    const norms = behind
      ? ['post_attention_layernorm', 'post_feedforward_layernorm']
      : ['input_layernorm', 'post_attention_layernorm'];
    if (around) norms.push('pre_feedforward_layernorm', 'post_feedforward_layernorm');
    for (const norm of norms) add(at(`${norm}.weight`), hidden);
  }
  add('model.norm.weight', hidden);
  if (!kind.tied) add('lm_head.weight', vocabulary, hidden);
  return { config, weights };
}

/** The characters that byte-level tokenizers have for bytes. */
function byteCharacters(): string[] {
  const plain = (byte: number) => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(plain(byte) ? byte : next++));
}

/** A byte-level tokenizer.json, as SmolLM's. */
export function byteTokenizer(): Record<string, unknown> {
  const merges = ['t h', 'th e', 'Ġ the', 'i n', 'Ġ a', 'e r', 'o n', 'a n'];
  const tokens = [...byteCharacters()];
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<own>'].map((content, i) => ({
    ...{ id: 256 + i, content, special: i < 3, ...special },
  }));
  tokens.push(...added.map(({ content }) => content), ...merges.map((merge) => merge.replace(' ', '')));
  const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: added, normalizer: null },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [{ type: 'Digits', individual_digits: true }, bytes] },
    ...{ post_processor: null, decoder: bytes },
    model: {
      ...{
        type: 'BPE',
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
      },
      ...{ fuse_unk: false, byte_fallback: false, ignore_merges: false },
      ...{ vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges },
    },
  };
}

/** A tokenizer.json of pieces, as Gemma's: a beginning before each text, bytes for what is no piece. */
export function pieceTokenizer(): Record<string, unknown> {
  const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const added = ['<pad>', '<eos>', '<bos>', '<unk>'].map((content, id) => ({ id, content, ...special }));
  const merges = ['t h', 'th e', '▁ the', 'i n', '▁ a'];
  const bytes = Array.from(
    { length: 128 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
  );
  const letters = [...'▁abcdefghijklmnopqrstuvwxyzTOA.,'];
  const tokens = [...added.map(({ content }) => content), ...bytes, ...letters, ...merges.map((merge) => merge.replace(' ', ''))]; // prettier-ignore
  const begin = { SpecialToken: { id: '<bos>', type_id: 0 } };
  return {
    ...{ version: '1.0', truncation: null, padding: null, added_tokens: added },
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: { type: 'Split', pattern: { String: ' ' }, behavior: 'MergedWithPrevious', invert: false },
    post_processor: {
      type: 'TemplateProcessing',
      single: [begin, { Sequence: { id: 'A', type_id: 0 } }],
      pair: [begin, { Sequence: { id: 'A', type_id: 0 } }, begin, { Sequence: { id: 'B', type_id: 1 } }],
      special_tokens: { '<bos>': { id: '<bos>', ids: [2], tokens: ['<bos>'] } },
    },
    decoder: { type: 'Sequence', decoders: [{ type: 'Replace', pattern: { String: '▁' }, content: ' ' }, { type: 'ByteFallback' }, { type: 'Fuse' }] }, // prettier-ignore
    model: {
      ...{
        type: 'BPE',
        dropout: null,
        unk_token: '<unk>',
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
      },
      ...{ fuse_unk: true, byte_fallback: true, ignore_merges: false },
      ...{ vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges },
    },
  };
}

/** Writes a model's folder, with a tokenizer. */
export function writeSmall(
  folder: string,
  name: KindName,
  dtype: 'F32' | 'F16' | 'BF16' = 'F16',
  { config, weights }: SmallModel = smallModel(name),
): void {
  mkdirSync(folder, { recursive: true });
  writeModel(folder, config, weights, dtype);
  const isGemma = name.startsWith('gemma');
  const named = isGemma
    ? { bos_token: '<bos>', eos_token: '<eos>', unk_token: '<unk>', pad_token: '<pad>' }
    : { bos_token: '<|im_start|>', eos_token: { content: '<|im_end|>' }, pad_token: '<|im_end|>' };
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(isGemma ? pieceTokenizer() : byteTokenizer()));
  writeFileSync(
    join(folder, 'tokenizer_config.json'),
    JSON.stringify({ ...named, chat_template: '{{ messages }}' }),
  );
}
