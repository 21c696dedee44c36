import { VertexqError } from '../../errors';
import type { GgufValue } from '../../containers/gguf/values';
import type { ConfigReader } from '../config';
import { rotationOf } from '../rotation';
import { activations, type DecoderShape } from '../shape';
import { epsilonKey, type GgufNames, scaleNames } from './architectures';
import { warn, type Warning } from '../../warning-codes';

/** What a GGUF file says of a network besides its tokenizer. */
export interface NetworkKeys {
  keys: Map<string, GgufValue>;
  /** A divisor of each frequency, where rotations are scaled by such: the tensor `rope_freqs.weight`. */
  frequencyDivisors: Float32Array | null;
  warnings: Warning[];
}

const count = (value: number): GgufValue => ({ type: 'u32', value });
const float = (value: number): GgufValue => ({ type: 'f32', value });

/** Positions that say nothing of how long texts may be. */
const fallbackPositions = 2048;

/** The keys of a network. Throws ERR_VERTEXQ_DECODER, with what it is, where a config has what such files do not tell. */
export function networkKeys(config: ConfigReader, shape: DecoderShape, { gguf }: GgufNames): NetworkKeys {
  const { name } = gguf;
  const keys = new Map<string, GgufValue>([
    ['general.architecture', { type: 'text', value: name }],
    ['general.type', { type: 'text', value: 'model' }],
  ]);
  const add = (key: string, value: GgufValue) => keys.set(`${name}.${key}`, value);
  const positions = shape.positions || config.count('max_position_embeddings', fallbackPositions);
  add('context_length', count(positions));
  add('embedding_length', count(shape.hidden));
  add('block_count', count(shape.blocks.length));
  addFeedForward(add, config, shape, gguf);
  add('attention.head_count', count(shape.heads));
  add('attention.head_count_kv', count(shape.keyValueHeads));
  add(epsilonKey(shape.architecture), float(shape.epsilon));
  add('attention.key_length', count(shape.headSize));
  add('attention.value_length', count(shape.headSize));
  add('vocab_size', count(shape.vocabulary));
  const warnings = addWindow(add, shape, gguf.window === 'told', config.path);
  if (shape.softCap.scores !== null) add('attn_logit_softcapping', float(shape.softCap.scores));
  if (shape.softCap.logits !== null) add('final_logit_softcapping', float(shape.softCap.logits));
  for (const own of scaleNames)
    if (gguf.scales)
      add(gguf.scales[own], float(own === 'logits' ? 1 / shape.scale.logits : shape.scale[own]));
  requireUsual(config, shape, gguf);
  return { keys, frequencyDivisors: addRotation(add, config, shape, gguf), warnings };
}

/** Widths, and how many experts there are. Throws where these are not as llama.cpp has them. */
function addFeedForward(
  add: (key: string, value: GgufValue) => void,
  config: ConfigReader,
  { blocks }: DecoderShape,
  { name, expertSize, leavesShares = false, sharedSize }: GgufNames['gguf'],
): void {
  const [{ feedForward, experts }] = blocks as [DecoderShape['blocks'][number]];
  const cannot = (what: string) =>
    new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${config.path}: ${what}, which GGUF files of "${name}" do not tell`,
    );
  if (blocks.some((block) => (block.experts === null) !== (expertSize === undefined)))
    throw cannot('some blocks have no experts');
  add('feed_forward_length', count(expertSize === 'expert_feed_forward_length' ? config.count('intermediate_size') : feedForward)); // prettier-ignore
  if (!experts || !expertSize) return;
  if (experts.renormalized === leavesShares)
    throw cannot(`the weights of a token's experts ${leavesShares ? 'are made to' : 'do not'} add up to 1`);
  if (sharedSize !== undefined) add(sharedSize, count(experts.shared!));
  if (expertSize !== 'feed_forward_length') add(expertSize, count(feedForward));
  add('expert_count', count(experts.count));
  add('expert_used_count', count(experts.perToken));
}

function addWindow(
  add: (key: string, value: GgufValue) => void,
  { blocks }: DecoderShape,
  isTold: boolean,
  path: string,
): Warning[] {
  const window = blocks.find((block) => block.window !== null)?.window ?? null;
  if (window === null) return [];
  if (!isTold)
    return [
      warn(
        'WARN_VERTEXQ_WINDOW_LOST',
        `${path}: blocks see the last ${window} tokens, which GGUF files of this architecture do not tell: on longer texts llama.cpp lets them see all.`,
      ),
    ];
  add('attention.sliding_window', count(window));
  return [];
}

/** Throws where the network computes what llama.cpp has no key for. */
function requireUsual(config: ConfigReader, shape: DecoderShape, gguf: GgufNames['gguf']): void {
  const cannot = (what: string) =>
    new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${config.path}: ${what}, which GGUF files of "${gguf.name}" do not tell`,
    );
  const { blocks, hidden, heads, headSize, scale, architecture } = shape;
  const usual = {
    embedding: architecture.scales?.byRootOfHidden ? Math.sqrt(hidden) : 1,
    residual: 1,
    scores: blocks.length === gguf.blocksOfWideScores ? (hidden / heads) ** -0.5 : headSize ** -0.5,
    logits: 1,
  };
  const scaled = { embedding: 'embeddings', residual: 'branches', scores: 'scores', logits: 'logits' };
  for (const own of scaleNames)
    if (!gguf.scales && Math.abs(scale[own] / usual[own] - 1) > 1e-6)
      throw cannot(`${scaled[own]} are multiplied with ${scale[own]}, not ${usual[own]}`);
  const expected = activations[gguf.activation ?? 'silu']!;
  if (shape.activation !== expected) throw cannot(`the activation is ${shape.activation}, not ${expected}`);
  for (const [index, { window, feedForward }] of blocks.entries()) {
    if (feedForward !== blocks[0]!.feedForward) throw cannot('feed forwards differ in their widths');
    if (gguf.every === undefined || blocks.every((block) => block.window === null)) continue;
    const slides = (index + 1) % gguf.every !== 0;
    if ((window !== null) !== slides)
      throw cannot(
        `block ${index} ${slides ? 'sees all tokens' : 'has a window'}: every ${gguf.every}th sees all`,
      );
  }
}

const isUnrotated = (index: number, every: number | undefined) =>
  every !== undefined && (index + 1) % every === 0;

/** The keys of rotations; of those scaled by divisors these. */
function addRotation(
  add: (key: string, value: GgufValue) => void,
  config: ConfigReader,
  { blocks, headSize, architecture }: DecoderShape,
  { name, localTheta, everyUnrotated, hasDivisors }: GgufNames['gguf'],
): Float32Array | null {
  if (!architecture.rotation) return null;
  const newer = config.has('rope_parameters') ? config.object('rope_parameters') : null;
  const global = newer?.has('full_attention') ? newer.object('full_attention') : newer;
  const scaling = global ?? (config.has('rope_scaling') ? config.object('rope_scaling') : null);
  const cannot = (what: string) => new VertexqError('ERR_VERTEXQ_DECODER', `${config.path}: ${what}`);
  const theta = (global?.has('rope_theta') ? global : config).number(
    'rope_theta',
    architecture.defaults.theta ?? 1e4,
  );
  for (const [index, { rotation }] of blocks.entries())
    if ((rotation !== null) === isUnrotated(index, everyUnrotated))
      throw cannot(
        `block ${index} ${rotation ? 'rotates' : 'does not rotate'}, and GGUF files of "${name}" have ${everyUnrotated === undefined ? 'all blocks rotate' : `every ${everyUnrotated}th do without`}`,
      );
  const rotations = blocks.map(({ rotation }) => rotation);
  const rotating = rotations.find((rotation) => rotation !== null);
  if (!rotating) throw cannot(`no block rotates, which GGUF files of "${name}" do not tell`);
  const { size } = rotating;
  const plainOf = (base: number) =>
    rotationOf(null, { size, theta: base, positions: 0, trained: undefined, longest: 1 }).frequencies;
  const divisorsOf = (own: Float64Array, base: number) => own.map((value, i) => plainOf(base)[i]! / value);
  const areOnes = (divisors: Float64Array) => divisors.every((value) => Math.abs(value - 1) < 1e-6);
  add('rope.freq_base', float(theta));
  add('rope.dimension_count', count(size));
  const isLocal = (index: number) => localTheta !== undefined && blocks[index]!.window !== null;
  const local = rotations.find((own, index) => own && isLocal(index));
  if (local && !areOnes(divisorsOf(local.frequencies, localTheta!)))
    throw cannot(
      `blocks with a window should rotate with a base of ${localTheta}, which GGUF files take for granted`,
    );
  // Of a few blocks all may have a window.
  const rotation = rotations.find((own, index) => own && !isLocal(index));
  const divisors = rotation ? divisorsOf(rotation.frequencies, theta) : new Float64Array();
  const key = scaling?.has('rope_type') ? 'rope_type' : 'type';
  const kind = scaling?.has(key) ? scaling.text(key) : 'default';
  if (kind === 'linear') {
    add('rope.scaling.type', { type: 'text', value: 'linear' });
    add('rope.scaling.factor', float(scaling!.number('factor')));
    return null;
  }
  if (kind === 'default' && areOnes(divisors)) return null;
  if (hasDivisors && kind === 'llama3' && rotation?.factor === 1 && size === headSize)
    return Float32Array.from(divisors);
  throw cannot(
    `rotations scaled as "${kind}" are not known in GGUF files of "${name}" here: known are default, linear${hasDivisors ? ', llama3' : ''}`,
  );
}
