// What architectures are made of, each in the words of its own config and tensors. A block is
// h = x + attention(norm(x)), y = h + feedForward(norm(h)) but for what its row says.

export type Activation = 'silu' | 'gelu' | 'gelu-tanh' | 'relu' | 'quick-gelu';

/** A linear layer's module in a block; `bias`: whether it has one, or the key of the config that says so, with what holds without it. */
export interface Linear {
  module: string;
  bias?: boolean | readonly [key: string, fallback: boolean];
}

export interface Experts {
  /** The router, and the experts' modules in that of an expert. */
  router: string;
  /** What the experts' numbers come behind. */
  list: string;
  gate: string;
  up: string;
  down: string;
  /** Keys of the config; of the count, the one that is there. */
  count: readonly string[];
  perToken: string;
  size: string;
  /** Whether the weights of a token's experts are made to add up to 1, or the key that says so. */
  renormalized: boolean | string;
  /** The one that every token goes to as well, and the layer whose sigmoid is its weight; of the config, the key of its width. */
  shared?: { gate: string; up: string; down: string; share: string; size: string };
}

export interface Architecture {
  /** Names that its config has for the keys of the others. */
  keys?: Readonly<Record<string, string>>;
  /** What holds where the config does not say it. */
  defaults: {
    tied: boolean;
    activation?: string;
    theta?: number;
    epsilon?: number;
    headSize?: number;
    /** Of the hidden size. */
    feedForwardFactor?: number;
  };
  modules: {
    embedding: string;
    /** Of learned positions. */
    positions?: string;
    blocks: string;
    norm: string;
    head: string;
  };
  /** Begins all names but in some files. */
  optionalPrefix?: string;
  /** `rms-plus-one`: multiplies with 1 + w. */
  norm: 'rms' | 'rms-plus-one' | 'layer';
  /** In a block. */
  norms: {
    beforeAttention?: string;
    afterAttention?: string;
    beforeFeedForward?: string;
    afterFeedForward?: string;
  };
  attention: {
    /** One module for all three, or three. */
    projections: { fused: Linear } | { query: Linear; key: Linear; value: Linear };
    output: Linear;
    /** RMSNorm of queries and keys, of each head or of all of a token. */
    norms?: { of: 'head' | 'projection'; query: string; key: string };
  };
  feedForward:
    | { kind: 'plain'; up: Linear; down: Linear }
    | { kind: 'gated'; gate: Linear; up: Linear; down: Linear }
    | { kind: 'gated-fused'; gateUp: Linear; down: Linear };
  experts?: Experts;
  /** Whether linear layers lie [inFeatures, outFeatures]. */
  transposed?: boolean;
  /** The key of the activation's name. */
  activation: string;
  activations?: Readonly<Record<string, Activation>>;
  rotation?: {
    /** Which blocks rotate, by a key with a list of 0 and 1, or one in how many does not. */
    skipped?: { list: string; interval: string; intervalDefault: number };
    /** The key of the base of blocks with a window, where they have one of their own. */
    localTheta?: { key: string; fallback: number };
  };
  /** A window of that many last tokens; `enabled`: a key that must be true. */
  window?: {
    size: string;
    enabled?: string;
    /** Where the config has no `layer_types`: which blocks have it. */
    blocks: 'all' | 'later' | 'all-but-every' | 'without-rotation';
    /** Of `all-but-every`: every how many-th does not. */
    every?: { key?: string; fallback: number };
  };
  /** Keys of numbers that scale. */
  scales?: {
    /** d of the scores' divisor √d, in place of the head's size. */
    queries?: string;
    /** What scores are multiplied with. */
    scores?: string;
    embedding?: string;
    /** Embeddings times √hidden. */
    byRootOfHidden?: boolean;
    residual?: string;
    /** What logits are divided by. */
    logits?: string;
  };
  /** Keys of c in c·tanh(x/c). */
  softCaps?: { scores: string; logits: string };
  /** Tensors that some files hold, and nothing computes with: in blocks, by their ends. */
  buffers?: readonly string[];
  /** Other keys that are known and change nothing here; those that must be as given. */
  known?: readonly string[];
  fixed?: Readonly<Record<string, unknown>>;
}

const modules = {
  embedding: 'model.embed_tokens',
  blocks: 'model.layers',
  norm: 'model.norm',
  head: 'lm_head',
} as const;
const separate = (bias?: Linear['bias']) => {
  const of = (name: string): Linear => ({
    module: `self_attn.${name}_proj`,
    ...(bias === undefined ? {} : { bias }),
  });
  return { query: of('q'), key: of('k'), value: of('v') };
};
const gated = (bias?: Linear['bias']) => {
  const of = (name: string): Linear => ({
    module: `mlp.${name}_proj`,
    ...(bias === undefined ? {} : { bias }),
  });
  return { kind: 'gated', gate: of('gate'), up: of('up'), down: of('down') } as const;
};
const headNorms = { of: 'head', query: 'self_attn.q_norm', key: 'self_attn.k_norm' } as const;
const around = {
  beforeAttention: 'input_layernorm',
  afterAttention: 'post_attention_layernorm',
  beforeFeedForward: 'pre_feedforward_layernorm',
  afterFeedForward: 'post_feedforward_layernorm',
} as const;

const attentionBias = ['attention_bias', false] as const;
const feedForwardBias = ['mlp_bias', false] as const;

const llama: Architecture = {
  defaults: { tied: false },
  modules,
  norm: 'rms',
  norms: { beforeAttention: 'input_layernorm', beforeFeedForward: 'post_attention_layernorm' },
  attention: {
    projections: separate(attentionBias),
    output: { module: 'self_attn.o_proj', bias: attentionBias },
  },
  feedForward: gated(feedForwardBias),
  activation: 'hidden_act',
  rotation: {},
  buffers: ['self_attn.rotary_emb.inv_freq'],
  fixed: { pretraining_tp: 1, rope_interleaved: false },
};

const mistral: Architecture = {
  ...llama,
  attention: { projections: separate(), output: { module: 'self_attn.o_proj' } },
  feedForward: gated(),
  window: { size: 'sliding_window', blocks: 'all' },
  fixed: {},
};

const qwen2: Architecture = {
  ...mistral,
  attention: { projections: separate(true), output: { module: 'self_attn.o_proj' } },
  window: { size: 'sliding_window', enabled: 'use_sliding_window', blocks: 'later' },
  known: ['max_window_layers', 'sliding_window', 'use_mrope'],
};

const qwen3: Architecture = {
  ...qwen2,
  defaults: { tied: false, headSize: 128 },
  attention: { ...llama.attention, norms: headNorms },
};

const gemma2: Architecture = {
  ...mistral,
  defaults: { tied: true, headSize: 256 },
  norm: 'rms-plus-one',
  norms: around,
  attention: llama.attention,
  activation: 'hidden_activation',
  window: { size: 'sliding_window', blocks: 'all-but-every', every: { fallback: 2 } },
  scales: { queries: 'query_pre_attn_scalar', byRootOfHidden: true },
  softCaps: { scores: 'attn_logit_softcapping', logits: 'final_logit_softcapping' },
  known: ['hidden_act', '_sliding_window_pattern'],
  fixed: { use_bidirectional_attention: false },
};

const mixtral: Architecture = {
  ...mistral,
  defaults: { tied: false, theta: 1e6, epsilon: 1e-5 },
  experts: {
    ...{
      router: 'block_sparse_moe.gate',
      list: 'block_sparse_moe.experts',
      gate: 'w1',
      up: 'w3',
      down: 'w2',
    },
    ...{
      count: ['num_local_experts'],
      perToken: 'num_experts_per_tok',
      size: 'intermediate_size',
      renormalized: true,
    },
  },
};

const ofQwen: Experts = {
  ...{ router: 'mlp.gate', list: 'mlp.experts', gate: 'gate_proj', up: 'up_proj', down: 'down_proj' },
  ...{ count: ['num_experts', 'num_local_experts'], perToken: 'num_experts_per_tok' },
  ...{ size: 'moe_intermediate_size', renormalized: 'norm_topk_prob' },
};

/** By `architectures[0]` of the config. */
export const architectures: Readonly<Record<string, Architecture>> = {
  LlamaForCausalLM: llama,
  MistralForCausalLM: mistral,
  Qwen2ForCausalLM: qwen2,
  Qwen3ForCausalLM: qwen3,
  Gemma2ForCausalLM: gemma2,
  Gemma3ForCausalLM: {
    ...gemma2,
    defaults: { tied: true, headSize: 256, theta: 1e6 },
    attention: { ...llama.attention, norms: headNorms },
    rotation: { localTheta: { key: 'rope_local_base_freq', fallback: 1e4 } },
    window: {
      ...{ size: 'sliding_window', blocks: 'all-but-every' },
      every: { key: 'sliding_window_pattern', fallback: 6 },
    },
  },
  Phi3ForCausalLM: {
    ...mistral,
    attention: {
      projections: { fused: { module: 'self_attn.qkv_proj' } },
      output: { module: 'self_attn.o_proj' },
    },
    feedForward: {
      kind: 'gated-fused',
      gateUp: { module: 'mlp.gate_up_proj' },
      down: { module: 'mlp.down_proj' },
    },
  },
  SmolLM3ForCausalLM: {
    ...llama,
    defaults: { tied: true, theta: 2e6 },
    rotation: { skipped: { list: 'no_rope_layers', interval: 'no_rope_layer_interval', intervalDefault: 4 } },
    window: { size: 'sliding_window', enabled: 'use_sliding_window', blocks: 'without-rotation' },
    known: ['max_window_layers', 'sliding_window'],
  },
  Olmo2ForCausalLM: {
    ...llama,
    norms: { afterAttention: 'post_attention_layernorm', afterFeedForward: 'post_feedforward_layernorm' },
    attention: { ...llama.attention, norms: { ...headNorms, of: 'projection' } },
    feedForward: gated(),
    defaults: { tied: false, epsilon: 1e-5 },
    fixed: {},
  },
  GraniteForCausalLM: {
    ...llama,
    scales: {
      ...{ scores: 'attention_multiplier', embedding: 'embedding_multiplier' },
      ...{ residual: 'residual_multiplier', logits: 'logits_scaling' },
    },
  },
  GPT2LMHeadModel: {
    keys: {
      ...{ hidden_size: 'n_embd', num_hidden_layers: 'n_layer', num_attention_heads: 'n_head' },
      ...{
        intermediate_size: 'n_inner',
        max_position_embeddings: 'n_positions',
        rms_norm_eps: 'layer_norm_epsilon',
      },
    },
    defaults: { tied: true, activation: 'gelu_new', epsilon: 1e-5, feedForwardFactor: 4 },
    modules: {
      ...{ embedding: 'transformer.wte', positions: 'transformer.wpe', blocks: 'transformer.h' },
      ...{ norm: 'transformer.ln_f', head: 'lm_head' },
    },
    optionalPrefix: 'transformer.',
    norm: 'layer',
    norms: { beforeAttention: 'ln_1', beforeFeedForward: 'ln_2' },
    attention: {
      projections: { fused: { module: 'attn.c_attn', bias: true } },
      output: { module: 'attn.c_proj', bias: true },
    },
    feedForward: {
      kind: 'plain',
      up: { module: 'mlp.c_fc', bias: true },
      down: { module: 'mlp.c_proj', bias: true },
    },
    transposed: true,
    activation: 'activation_function',
    buffers: ['attn.bias', 'attn.masked_bias'],
    known: ['n_ctx', 'reorder_and_upcast_attn'],
    fixed: { scale_attn_weights: true, scale_attn_by_inverse_layer_idx: false, add_cross_attention: false },
  },
  MixtralForCausalLM: mixtral,
  Qwen2MoeForCausalLM: {
    ...qwen2,
    attention: { projections: separate(['qkv_bias', true]), output: { module: 'self_attn.o_proj' } },
    experts: {
      ...ofQwen,
      shared: {
        ...{ gate: 'mlp.shared_expert.gate_proj', up: 'mlp.shared_expert.up_proj' },
        ...{ down: 'mlp.shared_expert.down_proj', share: 'mlp.shared_expert_gate' },
        size: 'shared_expert_intermediate_size',
      },
    },
  },
  Qwen3MoeForCausalLM: { ...qwen3, experts: ofQwen },
};
