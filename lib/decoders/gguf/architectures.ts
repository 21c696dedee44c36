import { VertexqError } from '../../errors';
import { type Architecture, architectures } from '../architectures';

/** How GGUF files have an architecture of ours: what tensors are called follows from the architecture's own row. */
export interface GgufArchitecture {
  /** `general.architecture`. */
  name: string;
  /** `model_type` of configs, where it is not the name. */
  modelType?: string;
  /** Whether the rows of queries and keys are permuted: entries that are rotated together lie beside each other. */
  permutes?: boolean;
  /** Whether a window of blocks is told: `dropped` where llama.cpp has every block see all tokens. */
  window: 'told' | 'dropped';
  /** Every how many-th block sees all tokens, where that is fixed. */
  every?: number;
  /** The base of rotations of blocks with a window, where that is fixed. */
  localTheta?: number;
  /** Of networks of experts: the key of an expert's width. */
  expertSize?: 'feed_forward_length' | 'expert_feed_forward_length';
  /** Whether the weights of a token's experts are left as they are: else they are made to add up to 1. */
  leavesShares?: boolean;
  /** The key of the width of the expert that all tokens go to. */
  sharedSize?: string;
  /** The activation, as configs name it: silu without. */
  activation?: string;
  /** Every how many-th block does not rotate: fixed. Without, all do that can. */
  everyUnrotated?: number;
  /** Whether divisors of frequencies may be told, in a tensor of their own. */
  hasDivisors?: boolean;
  /** The keys of what embeddings, branches and scores are multiplied with, and logits divided by. */
  scales?: Readonly<Record<(typeof scaleNames)[number], string>>;
  /** Keys that may be left out, and change what is computed where they are not as here. */
  fixed?: Readonly<Record<string, boolean>>;
  /** With so many blocks scores are divided by the root of hidden/heads, not of a head's size. */
  blocksOfWideScores?: number;
}

const llama: GgufArchitecture = { name: 'llama', permutes: true, window: 'dropped', hasDivisors: true };
const gemma = { window: 'told', activation: 'gelu_pytorch_tanh' } as const;

/** By our names: the others are not known in GGUF files. */
export const ggufArchitectures: Readonly<Record<string, GgufArchitecture>> = {
  LlamaForCausalLM: llama,
  MistralForCausalLM: { ...llama, modelType: 'mistral' },
  Qwen2ForCausalLM: { name: 'qwen2', window: 'dropped' },
  Qwen3ForCausalLM: { name: 'qwen3', window: 'dropped' },
  Gemma2ForCausalLM: { ...gemma, name: 'gemma2', every: 2, blocksOfWideScores: 46 },
  Gemma3ForCausalLM: { ...gemma, name: 'gemma3', modelType: 'gemma3_text', every: 6, localTheta: 1e4, blocksOfWideScores: 62 }, // prettier-ignore
  Phi3ForCausalLM: { name: 'phi3', window: 'dropped' },
  SmolLM3ForCausalLM: { name: 'smollm3', permutes: true, window: 'dropped', everyUnrotated: 4 },
  Olmo2ForCausalLM: { name: 'olmo2', window: 'dropped' },
  GraniteForCausalLM: {
    ...llama,
    name: 'granite',
    scales: {
      ...{ embedding: 'embedding_scale', residual: 'residual_scale' },
      ...{ scores: 'attention.scale', logits: 'logit_scale' },
    },
    fixed: { 'rope.scaling.finetuned': true },
  },
  GPT2LMHeadModel: { name: 'gpt2', window: 'dropped', activation: 'gelu_new' },
  MixtralForCausalLM: { ...llama, modelType: 'mixtral', expertSize: 'feed_forward_length' },
  Qwen2MoeForCausalLM: {
    ...{ name: 'qwen2moe', modelType: 'qwen2_moe', window: 'dropped', leavesShares: true },
    ...{ expertSize: 'expert_feed_forward_length', sharedSize: 'expert_shared_feed_forward_length' },
  },
  Qwen3MoeForCausalLM: { name: 'qwen3moe', modelType: 'qwen3_moe', window: 'dropped', expertSize: 'expert_feed_forward_length' }, // prettier-ignore
};

/** What becomes of a tensor on its way from one naming to the other. */
export interface GgufName {
  name: string;
  /** Whose heads' rows are permuted. */
  permuted?: 'queries' | 'keys';
  /** Whether 1 is added to what it is here. */
  plusOne?: boolean;
  /** Whether it lies [inFeatures, outFeatures] here. */
  transposed?: boolean;
  /** Whether it is a matrix of one row here, which some files have as a vector. */
  isRow?: boolean;
}

/** What the layer is called whose sigmoid is the weight of the expert that all tokens go to. */
const sharedShare = 'ffn_gate_inp_shexp';

/** The modules of a block, by what they are called in GGUF files. */
function blockModules({ norms, attention, feedForward, experts }: Architecture): Map<string, string> {
  const { projections, output } = attention;
  const list: [string, string | undefined][] = [
    ['attn_norm', norms.beforeAttention],
    ['post_attention_norm', norms.afterAttention],
    ['ffn_norm', norms.beforeFeedForward],
    ['post_ffw_norm', norms.afterFeedForward],
    ['attn_q_norm', attention.norms?.query],
    ['attn_k_norm', attention.norms?.key],
    ['attn_output', output.module],
    ['ffn_down', feedForward.down.module],
    ['ffn_gate_inp', experts?.router],
    [sharedShare, experts?.shared?.share],
    ['ffn_gate_shexp', experts?.shared?.gate],
    ['ffn_up_shexp', experts?.shared?.up],
    ['ffn_down_shexp', experts?.shared?.down],
  ];
  if ('fused' in projections) list.push(['attn_qkv', projections.fused.module]);
  else
    list.push(
      ['attn_q', projections.query.module],
      ['attn_k', projections.key.module],
      ['attn_v', projections.value.module],
    );
  if (feedForward.kind === 'gated') list.push(['ffn_gate', feedForward.gate.module]);
  list.push([
    'ffn_up',
    feedForward.kind === 'gated-fused' ? feedForward.gateUp.module : feedForward.up.module,
  ]);
  return new Map(list.flatMap(([own, module]) => (module === undefined ? [] : [[own, module]])));
}

/** The matrices of all experts of a block, by what they are called in GGUF files, and in an expert. */
const ofExperts = { ffn_gate_exps: 'gate', ffn_up_exps: 'up', ffn_down_exps: 'down' } as const;

const others = { token_embd: 'embedding', position_embd: 'positions', output_norm: 'norm', output: 'head' } as const; // prettier-ignore

/** The key of the epsilon of norms. */
export const epsilonKey = ({ norm }: Architecture): string =>
  norm === 'layer' ? 'attention.layer_norm_epsilon' : 'attention.layer_norm_rms_epsilon';
export const scaleNames = ['embedding', 'residual', 'scores', 'logits'] as const;
const isNorm = (own: string) => own.endsWith('_norm');

/** The names of an architecture's tensors in GGUF files, and back. */
export class GgufNames {
  readonly gguf: GgufArchitecture;
  private readonly architecture: Architecture;
  private readonly block: ReadonlyMap<string, string>;
  private readonly byModule: ReadonlyMap<string, string>;

  /** `name`: ours. Throws ERR_VERTEXQ_DECODER at an architecture that is not known in GGUF files. */
  constructor(name: string) {
    if (!Object.hasOwn(ggufArchitectures, name))
      throw new VertexqError(
        'ERR_VERTEXQ_DECODER',
        `The architecture "${name}" is not known in GGUF files here: known are ${Object.keys(ggufArchitectures).join(', ')}`,
      );
    this.gguf = ggufArchitectures[name]!;
    this.architecture = architectures[name]!;
    this.block = blockModules(this.architecture);
    this.byModule = new Map([...this.block].map(([own, module]) => [module, own]));
  }

  /** What a tensor of a checkpoint is called there; undefined where there is none of the kind. */
  ofTensor(tensor: string): GgufName | undefined {
    const { modules, optionalPrefix = '' } = this.architecture;
    const [, given = '', end] = /^(.*)\.(weight|bias)$/.exec(tensor) ?? [];
    const isHead = given === modules.head;
    const module = isHead || given.startsWith(optionalPrefix) ? given : optionalPrefix + given;
    for (const [own, which] of Object.entries(others))
      if (module === modules[which]) return this.described(`${own}.${end}`, own);
    const [, index, inBlock = ''] =
      module.startsWith(`${modules.blocks}.`) ? (/^(\d+)\.(.*)$/.exec(module.slice(modules.blocks.length + 1)) ?? []) : []; // prettier-ignore
    const own = this.byModule.get(inBlock);
    return index === undefined || own === undefined
      ? undefined
      : this.described(`blk.${index}.${own}.${end}`, own);
  }

  /** What a tensor of a GGUF file is called in a checkpoint; undefined where there is none of the kind. */
  ofGguf(name: string): (GgufName & { tensor: string }) | undefined {
    const [, index, own = '', end] = /^(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)$/.exec(name) ?? [];
    const { modules } = this.architecture;
    if (end === undefined) return undefined;
    if (index === undefined) {
      const found = Object.hasOwn(others, own) ? modules[others[own as keyof typeof others]] : undefined;
      return found === undefined ? undefined : { ...this.described(name, own), tensor: `${found}.${end}` };
    }
    const module = this.block.get(own);
    return module === undefined
      ? undefined
      : { ...this.described(name, own), tensor: `${modules.blocks}.${index}.${module}.${end}` };
  }

  /** Where a weight of an expert goes: the tensor of all of its kind, and which of them it is; undefined of other tensors. */
  ofExpert(tensor: string): { name: string; expert: number } | undefined {
    const { experts, modules } = this.architecture;
    if (!experts) return undefined;
    for (const [own, part] of Object.entries(ofExperts)) {
      const [begin, end] = [`${modules.blocks}.`, `.${experts[part]}.weight`];
      if (!tensor.startsWith(begin) || !tensor.endsWith(end)) continue;
      const inner = tensor.slice(begin.length, tensor.length - end.length);
      const [, block, list, expert] = /^(\d+)\.(.*)\.(\d+)$/.exec(inner) ?? [];
      if (list === experts.list) return { name: `blk.${block}.${own}.weight`, expert: Number(expert) };
    }
    return undefined;
  }

  /** What the weights of `count` experts in one tensor of a GGUF file are called in a checkpoint; undefined of other tensors. */
  expertsIn(name: string, count: number): string[] | undefined {
    const { experts, modules } = this.architecture;
    const [, block, own = ''] = /^blk\.(\d+)\.(\w+)\.weight$/.exec(name) ?? [];
    if (!experts || !Object.hasOwn(ofExperts, own)) return undefined;
    const part = experts[ofExperts[own as keyof typeof ofExperts]];
    return Array.from({ length: count }, (_, i) => `${modules.blocks}.${block}.${experts.list}.${i}.${part}.weight`); // prettier-ignore
  }

  private described(name: string, own: string): GgufName {
    const permuted = { attn_q: 'queries', attn_k: 'keys' } as const;
    return {
      name,
      ...(this.gguf.permutes && own in permuted && { permuted: permuted[own as keyof typeof permuted] }),
      ...(this.architecture.norm === 'rms-plus-one' && isNorm(own) && { plusOne: true }),
      ...(this.isTransposed(name, own) && { transposed: true }),
      ...(own === sharedShare && { isRow: true }),
    };
  }

  /** Of such architectures all matrices in blocks are. */
  private isTransposed(name: string, own: string): boolean {
    return this.architecture.transposed === true && this.block.has(own) && !isNorm(own) && name.endsWith('.weight'); // prettier-ignore
  }
}
