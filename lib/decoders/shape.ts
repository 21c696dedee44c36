import { VertexqError } from '../errors';
import { describe } from '../options/messages';
import { type Activation, type Architecture, architectures, type Linear } from './architectures';
import type { ConfigReader } from './config';
import { type Rotation, rotationOf } from './rotation';
import { warn, type Warning } from '../warning-codes';

/** What a decoder computes: an architecture with the numbers of a config in it. */
export interface DecoderShape {
  architecture: Architecture;
  /** Its name. */
  name: string;
  /** Entries of a token between blocks. */
  hidden: number;
  vocabulary: number;
  /** Learned positions, where there are some. */
  positions: number;
  epsilon: number;
  activation: Activation;
  heads: number;
  keyValueHeads: number;
  headSize: number;
  blocks: BlockShape[];
  /** The head is the embedding. */
  tied: boolean;
  /** What embeddings, both branches of a block, scores and logits are multiplied with. */
  scale: { embedding: number; residual: number; scores: number; logits: number };
  /** c of c·tanh(x/c); null without. */
  softCap: { scores: number | null; logits: number | null };
  hasBias: (linear: Linear) => boolean;
  /** What there is to say of the config. */
  warnings: Warning[];
}

export interface BlockShape {
  rotation: Rotation | null;
  /** Tokens that a token sees, itself included; null for all before it. */
  window: number | null;
  /** Entries between the layers of a feed forward. */
  feedForward: number;
  experts: {
    count: number;
    perToken: number;
    renormalized: boolean;
    /** The width of the one that every token goes to; null without. */
    shared: number | null;
  } | null;
}

/** Entries between the layers of all feed forwards that a token goes through. */
export const widthOf = ({ feedForward, experts }: BlockShape): number =>
  feedForward * (experts?.perToken ?? 1) + (experts?.shared ?? 0);

/** By the names in configs. */
export const activations: Readonly<Record<string, Activation>> = {
  ...{ silu: 'silu', swish: 'silu', gelu: 'gelu', relu: 'relu', quick_gelu: 'quick-gelu' },
  ...{ gelu_new: 'gelu-tanh', gelu_pytorch_tanh: 'gelu-tanh', gelu_fast: 'gelu-tanh' },
};

/** The way out of whoever quantizes: others leave it out. */
export const noForward = '; the method "msq" (--method msq) needs none of this';

/** Runs `open`; a VertexqError that it throws becomes ERR_VERTEXQ_DECODER, with another way out, or none. */
export function withWayOut<Result>(open: () => Result, wayOut = ''): Result {
  try {
    return open();
  } catch (error) {
    if (!(error instanceof VertexqError)) throw error;
    const message = error.message.replace(noForward, '') + wayOut;
    throw new VertexqError('ERR_VERTEXQ_DECODER', message, { cause: error });
  }
}

/** What a config describes, for sequences of up to `longest` tokens. Throws ERR_VERTEXQ_DECODER with what is not known or missing. */
export function shapeOf(config: ConfigReader, longest: number): DecoderShape {
  const [name, architecture] = architectureOf(config);
  const { defaults, keys = {} } = architecture;
  const keyOf = (key: string) => keys[key] ?? key;
  const count = (key: string, fallback?: number) => config.count(keyOf(key), fallback);
  requireFixed(config, architecture);

  const hidden = count('hidden_size');
  const heads = count('num_attention_heads');
  const keyValueHeads = count('num_key_value_heads', heads);
  if (heads % keyValueHeads !== 0)
    throw config.wrong('num_key_value_heads', `a divisor of the ${heads} of "num_attention_heads"`);
  const headSize = count('head_dim', defaults.headSize ?? hidden / heads);
  const blockCount = count('num_hidden_layers');
  const rotations = rotationsOf(config, architecture, headSize, longest, blockCount);
  const windows = windowsOf(config, architecture, rotations);
  const feedForward = count(
    'intermediate_size',
    defaults.feedForwardFactor && defaults.feedForwardFactor * hidden,
  );
  const shape: DecoderShape = {
    ...{ architecture, name, hidden, heads, keyValueHeads, headSize },
    vocabulary: count('vocab_size'),
    positions: positionsOf(config, architecture, longest),
    epsilon: config.number(keyOf('rms_norm_eps'), defaults.epsilon ?? 1e-6),
    activation: activationOf(config, architecture),
    blocks: windows.map((window, index) => ({
      ...{ rotation: rotations[index]!, window },
      ...expertsOf(config, architecture, index, feedForward),
    })),
    tied: config.flag('tie_word_embeddings', defaults.tied),
    scale: scalesOf(config, architecture, hidden, headSize),
    softCap: {
      scores: capOf(config, architecture.softCaps?.scores),
      logits: capOf(config, architecture.softCaps?.logits),
    },
    hasBias: ({ bias }) => (typeof bias === 'object' ? config.flag(...bias) : (bias ?? false)),
    warnings: [],
  };
  for (const linear of linearsOf(architecture)) shape.hasBias(linear);
  config.ignore(architecture.known ?? []);
  if (config.unknown.length > 0)
    shape.warnings.push(
      warn(
        'WARN_VERTEXQ_UNKNOWN_KEYS',
        `${config.path}: ${config.unknown.map(describe).join(', ')} ${config.unknown.length === 1 ? 'is' : 'are'} not known for ${name}, and left out of account`,
      ),
    );
  return shape;
}

function architectureOf(config: ConfigReader): [string, Architecture] {
  const known = Object.keys(architectures);
  if (!config.has('architectures'))
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${config.path} has no "architectures": expected one of ${known.join(', ')}${noForward}`,
    );
  const [name = ''] = config.texts('architectures', 1);
  if (Object.hasOwn(architectures, name)) return [name, architectures[name]!];
  throw new VertexqError(
    'ERR_VERTEXQ_DECODER',
    `${config.path}: the architecture ${describe(name)} is not known. Known are ${known.join(', ')}${noForward}`,
  );
}

/** Throws where a config wants what is computed otherwise here. */
function requireFixed(config: ConfigReader, { fixed = {} }: Architecture): void {
  for (const [key, value] of Object.entries(fixed)) {
    if (!config.has(key)) continue;
    const found = typeof value === 'boolean' ? config.flag(key) : config.number(key);
    if (found !== value) throw config.wrong(key, `${String(value)}: nothing else is known${noForward}`);
  }
}

/** Of each block; null where it does not rotate. */
function rotationsOf(
  config: ConfigReader,
  { rotation, defaults, window }: Architecture,
  headSize: number,
  longest: number,
  count: number,
): (Rotation | null)[] {
  if (!rotation) return Array.from({ length: count }, () => null);
  const newer = config.has('rope_parameters') ? config.object('rope_parameters') : null;
  const older = config.has('rope_scaling') ? config.object('rope_scaling') : null;
  const positions = config.count('max_position_embeddings', 2048);
  const first = 'original_max_position_embeddings';
  const trained = config.has(first) ? config.count(first) : undefined;
  /** `part`: of newer configs with a rotation for each kind of block. */
  const of = (part: string, local: boolean): Rotation => {
    const own = newer?.has(part) ? newer.object(part) : newer;
    const key = local ? rotation.localTheta!.key : 'rope_theta';
    const fallback = local ? rotation.localTheta!.fallback : (defaults.theta ?? 1e4);
    const theta = own?.has('rope_theta') ? own.number('rope_theta') : config.number(key, fallback);
    const holder = own?.has('partial_rotary_factor') ? own : config;
    const size = Math.floor(headSize * holder.number('partial_rotary_factor', 1));
    if (size < 2 || size % 2 !== 0 || size > headSize)
      throw holder.wrong('partial_rotary_factor', `such that an even part of ${headSize} entries is rotated`);
    if (!(theta > 0)) throw (own ?? config).wrong('rope_theta', 'above 0');
    return rotationOf(own ?? (local ? null : older), { size, theta, positions, trained, longest });
  };
  const global = of('full_attention', false);
  const skipped = skippedOf(config, rotation, count);
  if (!rotation.localTheta) return skipped.map((skip) => (skip ? null : global));
  const local = of('sliding_attention', true);
  return slidesOf(config, window!, skipped).map((slides) => (slides ? local : global));
}

/** Which blocks do not rotate. */
function skippedOf(
  config: ConfigReader,
  { skipped }: NonNullable<Architecture['rotation']>,
  count: number,
): boolean[] {
  if (!skipped) return Array.from({ length: count }, () => false);
  const interval = config.count(skipped.interval, skipped.intervalDefault);
  if (config.has(skipped.list)) return config.numbers(skipped.list, count).map((rotates) => rotates === 0);
  return Array.from({ length: count }, (_, index) => (index + 1) % interval === 0);
}

function windowsOf(
  config: ConfigReader,
  { window }: Architecture,
  rotations: readonly (Rotation | null)[],
): (number | null)[] {
  const none = rotations.map(() => null);
  if (!window) return none;
  const slides = slidesOf(
    config,
    window,
    rotations.map((rotation) => rotation === null),
  );
  const enabled = window.enabled === undefined || config.flag(window.enabled, false);
  if (!config.has(window.size) || !enabled) return none;
  const size = config.count(window.size);
  return slides.map((does) => (does ? size : null));
}

/** Which blocks have a window, where there is one at all. */
function slidesOf(
  config: ConfigReader,
  window: NonNullable<Architecture['window']>,
  unrotated: readonly boolean[],
): boolean[] {
  const every =
    window.every?.key === undefined
      ? window.every?.fallback
      : config.count(window.every.key, window.every.fallback);
  if (config.has('layer_types'))
    return config.texts('layer_types', unrotated.length).map((type) => {
      if (type === 'sliding_attention' || type === 'full_attention') return type === 'sliding_attention';
      throw config.wrong('layer_types', `of "sliding_attention" and "full_attention"${noForward}`);
    });
  const first = window.blocks === 'later' ? config.count('max_window_layers', 28, 0) : 0;
  return unrotated.map((is, index) => {
    if (window.blocks === 'without-rotation') return is;
    if (window.blocks === 'all-but-every') return (index + 1) % every! !== 0;
    return index >= first;
  });
}

function expertsOf(
  config: ConfigReader,
  { experts }: Architecture,
  index: number,
  feedForward: number,
): Pick<BlockShape, 'experts' | 'feedForward'> {
  if (!experts) return { experts: null, feedForward };
  const plain = config.has('mlp_only_layers') ? config.numbers('mlp_only_layers') : [];
  const every = config.count('decoder_sparse_step', 1);
  if (plain.includes(index) || (index + 1) % every !== 0) return { experts: null, feedForward };
  const countKey = experts.count.find((key) => config.has(key)) ?? experts.count[0]!;
  const count = config.count(countKey);
  const perToken = config.count(experts.perToken);
  if (perToken > count) throw config.wrong(experts.perToken, `at most the ${count} of "${countKey}"`);
  const { renormalized } = experts;
  return {
    experts: {
      ...{ count, perToken },
      shared: experts.shared ? config.count(experts.shared.size) : null,
      renormalized: typeof renormalized === 'string' ? config.flag(renormalized, false) : renormalized,
    },
    feedForward: config.count(experts.size),
  };
}

/** Learned positions. */
function positionsOf(config: ConfigReader, { modules, keys = {} }: Architecture, longest: number): number {
  const key = keys['max_position_embeddings'] ?? 'max_position_embeddings';
  if (modules.positions === undefined) return 0;
  const positions = config.count(key);
  if (longest > positions)
    throw new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${config.path}: there are ${positions} positions, and sequences of ${longest} tokens were asked for: give shorter ones`,
    );
  return positions;
}

function activationOf(config: ConfigReader, { activation, defaults }: Architecture): Activation {
  const name = config.text(
    activation,
    defaults.activation ?? (activation === 'hidden_activation' ? 'gelu_pytorch_tanh' : 'silu'),
  );
  if (Object.hasOwn(activations, name)) return activations[name]!;
  throw config.wrong(activation, `one of ${Object.keys(activations).join(', ')}${noForward}`);
}

function scalesOf(
  config: ConfigReader,
  { scales = {} }: Architecture,
  hidden: number,
  headSize: number,
): DecoderShape['scale'] {
  const of = (key: string | undefined) => (key === undefined ? 1 : config.number(key, 1));
  const queries = scales.queries === undefined ? headSize : config.number(scales.queries, headSize);
  return {
    embedding: scales.byRootOfHidden ? Math.sqrt(hidden) : of(scales.embedding),
    residual: of(scales.residual),
    scores: scales.scores === undefined ? queries ** -0.5 : config.number(scales.scores, 1),
    logits: 1 / of(scales.logits),
  };
}

const capOf = (config: ConfigReader, key: string | undefined) =>
  key !== undefined && config.has(key) ? config.number(key) : null;

/** All linear layers that a row names. */
function linearsOf({ attention: { projections, output }, feedForward }: Architecture): Linear[] {
  const parts =
    'fused' in projections ? [projections.fused] : [projections.query, projections.key, projections.value];
  const layers = Object.values(feedForward).filter((part) => typeof part === 'object');
  return [...parts, output, ...layers];
}
