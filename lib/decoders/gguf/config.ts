import { VertexqError } from '../../errors';
import type { GgufFile } from '../../containers/gguf/file';
import { describe } from '../../options/messages';
import { type Architecture, architectures, type Linear } from '../architectures';
import { ConfigReader } from '../config';
import { epsilonKey, type GgufArchitecture, ggufArchitectures, scaleNames } from './architectures';

type Fields = Record<string, unknown>;

/** What else may be told under an architecture's name and changes nothing that is computed here. */
const known = [
  ...['context_length', 'embedding_length', 'block_count', 'feed_forward_length', 'vocab_size'],
  ...['attention.head_count', 'attention.head_count_kv'],
  ...['attention.key_length', 'attention.value_length', 'attention.sliding_window'],
  ...['attn_logit_softcapping', 'final_logit_softcapping', 'rope.freq_base', 'rope.dimension_count'],
  ...['expert_count', 'expert_used_count', 'expert_feed_forward_length'],
  ...['rope.scaling.type', 'rope.scaling.factor', 'rope.scaling.finetuned'],
];

/** A frequency's divisors, where a file has some. */
export const divisorsName = 'rope_freqs.weight';

/**
 * What config.json would say of the network in a GGUF file; `divisors`: those of the frequencies, where the file has them. Throws ERR_VERTEXQ_DECODER
 * where the network is none that is known, or its keys tell of what is not.
 */
export function configOf(file: GgufFile, divisors: Float32Array | null): Fields {
  const { metadata } = file.header;
  const keys = Object.fromEntries(
    [...metadata].map(([key, value]) => [key, typeof value === 'bigint' ? Number(value) : value]),
  );
  const reader = new ConfigReader(file.path, keys);
  const name = nameOf(reader);
  const row = ggufArchitectures[name]!;
  const architecture = architectures[name]!;
  const of = (key: string) => `${row.name}.${key}`;
  const knownKeys = new Set(
    [
      ...known,
      epsilonKey(architecture),
      ...Object.values(row.scales ?? {}),
      ...(row.sharedSize === undefined ? [] : [row.sharedSize]),
    ].map(of),
  );
  const unknown = [...metadata.keys()].find((key) => key.startsWith(`${row.name}.`) && !knownKeys.has(key));
  if (unknown !== undefined)
    throw new VertexqError('ERR_VERTEXQ_DECODER', `${file.path}: the key ${describe(unknown)} is not known here, and may change what the network computes (--method msq runs no network)`); // prettier-ignore
  for (const [key, value] of Object.entries(row.fixed ?? {}))
    if (reader.has(of(key)) && reader.flag(of(key)) !== value) throw reader.wrong(of(key), String(value));
  const [hidden, heads] = [reader.count(of('embedding_length')), reader.count(of('attention.head_count'))];
  const headSize = reader.count(of('attention.key_length'), hidden / heads);
  if (reader.count(of('attention.value_length'), headSize) !== headSize)
    throw reader.wrong(of('attention.value_length'), `${headSize}, as "${of('attention.key_length')}"`);
  const blocks = reader.count(of('block_count'));
  const vocabulary = file.tensor('token_embd.weight').shape[0];
  const optional = (key: string, as: string) => (reader.has(of(key)) ? { [as]: reader.number(of(key)) } : {});
  const has = (tensor: string) => file.tensors.has(tensor);
  const fields = {
    architectures: [name],
    model_type: row.modelType ?? row.name,
    hidden_size: hidden,
    intermediate_size: reader.count(of('feed_forward_length')),
    num_hidden_layers: blocks,
    num_attention_heads: heads,
    num_key_value_heads: reader.count(of('attention.head_count_kv'), heads),
    head_dim: headSize,
    [architecture.activation]: row.activation ?? 'silu',
    rms_norm_eps: rounded(reader.number(of(epsilonKey(architecture)))),
    max_position_embeddings: reader.count(of('context_length')),
    vocab_size: vocabulary,
    tie_word_embeddings: !has('output.weight'),
    ...biasesOf(architecture, has),
    ...expertsOf(reader, of, row, architecture),
    ...optional('attn_logit_softcapping', 'attn_logit_softcapping'),
    ...optional('final_logit_softcapping', 'final_logit_softcapping'),
    ...(row.window === 'told' && optional('attention.sliding_window', 'sliding_window')),
    ...(row.blocksOfWideScores !== undefined && {
      query_pre_attn_scalar: blocks === row.blocksOfWideScores ? hidden / heads : headSize,
    }),
    ...scalesOf(reader, of, row, architecture, headSize),
    ...(architecture.rotation && rotationOf(reader, of, row, headSize, divisors)),
    ...tokenIds(reader),
  };
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [architecture.keys?.[key] ?? key, value])); // prettier-ignore
}

/** Which layers have biases, of those that a config tells of. */
function biasesOf({ attention, feedForward }: Architecture, has: (tensor: string) => boolean): Fields {
  const found: Fields = {};
  const { projections } = attention;
  for (const [own, { bias }] of [
    ['attn_q', 'fused' in projections ? {} : projections.query],
    ['attn_output', attention.output],
    ['ffn_down', feedForward.down],
  ] as [string, { bias?: Linear['bias'] }][])
    if (typeof bias === 'object' && has(`blk.0.${own}.bias`) !== bias[1]) found[bias[0]] = !bias[1];
  return found;
}

/** What is multiplied; scores that no key tells of are divided by the root of a head's size. */
function scalesOf(
  reader: ConfigReader,
  of: (key: string) => string,
  { scales }: GgufArchitecture,
  { scales: names = {} }: Architecture,
  headSize: number,
): Fields {
  if (!scales) return {};
  return Object.fromEntries(
    scaleNames.map((own) => {
      const found = rounded(reader.number(of(scales[own]), 0));
      return [names[own]!, found !== 0 ? found : own === 'scores' ? headSize ** -0.5 : 1];
    }),
  );
}

function rotationOf(
  reader: ConfigReader,
  of: (key: string) => string,
  { every, localTheta }: GgufArchitecture,
  headSize: number,
  divisors: Float32Array | null,
): Fields {
  const rotated = reader.count(of('rope.dimension_count'), headSize);
  return {
    rope_theta: rounded(reader.number(of('rope.freq_base'), 1e4)),
    ...(rotated !== headSize && { partial_rotary_factor: rotated / headSize }),
    ...(localTheta !== undefined && { sliding_window_pattern: every, rope_local_base_freq: localTheta }),
    ...scalingOf(reader, of, divisors),
  };
}

/** A float32 as it was written before it was one. */
const rounded = (value: number) => Number(value.toPrecision(7));

function nameOf(reader: ConfigReader): string {
  const given = reader.text('general.architecture');
  const hasExperts = reader.count(`${given}.expert_count`, 0, 0) > 0;
  const found = Object.entries(ggufArchitectures).find(
    ([, { name, expertSize }]) => name === given && (expertSize !== undefined) === hasExperts,
  );
  if (found) return found[0];
  const names = [...new Set(Object.values(ggufArchitectures).map(({ name }) => name))];
  throw reader.wrong('general.architecture', `one of ${names.join(', ')}: no other network is known here (--method msq runs none)`); // prettier-ignore
}

/** What is told of experts, where there are some. */
function expertsOf(
  reader: ConfigReader,
  of: (key: string) => string,
  { expertSize: size, leavesShares = false, sharedSize }: GgufArchitecture,
  { experts: own }: Architecture,
): Fields {
  if (size === undefined) return {};
  const experts = reader.count(of('expert_count'));
  return {
    ...{ num_local_experts: experts, num_experts: experts },
    num_experts_per_tok: reader.count(of('expert_used_count')),
    ...(size === 'expert_feed_forward_length' && { moe_intermediate_size: reader.count(of(size)), norm_topk_prob: !leavesShares }), // prettier-ignore
    ...(own?.shared && {
      [own.shared.size]: reader.count(of(sharedSize!), reader.count(of('feed_forward_length'))),
    }),
  };
}

function scalingOf(reader: ConfigReader, of: (key: string) => string, divisors: Float32Array | null): Fields {
  const kind = reader.text(of('rope.scaling.type'), 'none');
  if (kind !== 'none' && kind !== 'linear') throw reader.wrong(of('rope.scaling.type'), '"none" or "linear"');
  if (kind === 'linear') return { rope_scaling: { rope_type: 'linear', factor: reader.number(of('rope.scaling.factor')) } }; // prettier-ignore
  if (!divisors) return {};
  const list = [...divisors];
  const positions = reader.count(of('context_length'));
  return {
    rope_scaling: {
      ...{ rope_type: 'longrope', short_factor: list, long_factor: list, factor: 1, attention_factor: 1 },
      original_max_position_embeddings: positions,
    },
  };
}

function tokenIds(reader: ConfigReader): Fields {
  const found: Fields = {};
  for (const [own, key] of [
    ['bos', 'bos'],
    ['eos', 'eos'],
    ['pad', 'padding'],
  ] as const) {
    // prettier-ignore
    const name = `tokenizer.ggml.${key}_token_id`;
    if (reader.has(name)) found[`${own}_token_id`] = reader.count(name, undefined, 0);
  }
  return found;
}
