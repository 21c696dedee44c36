import { VertexqError } from '../errors';
import type { ConfigReader } from './config';

/** A rotary embedding: position p turns the pair (i, i + size/2) of a head's first `size` entries by the angle p·frequencies[i]. */
export interface Rotation {
  /** Entries of a head that are rotated. */
  size: number;
  /** size/2 angles a position, in radians. */
  frequencies: Float64Array;
  /** What sine and cosine are multiplied with. */
  factor: number;
}

/** What scalings have to know of the network. */
interface Context {
  /** Entries of a head that are rotated. */
  size: number;
  theta: number;
  /** Positions that the network was trained for, with the scaling. */
  positions: number;
  /** Those of its first training, where the config says it outside of the scaling. */
  trained: number | undefined;
  /** Tokens of the longest sequence that will be run. */
  longest: number;
}

const firstLength = 'original_max_position_embeddings';

type Scaling = (scaling: ConfigReader, plain: Float64Array, context: Context) => Omit<Rotation, 'size'>;

/** `size` is even. Su et al., RoFormer (2021), equation 15. */
function plainFrequencies(theta: number, size: number): Float64Array {
  return Float64Array.from({ length: size / 2 }, (_, i) => theta ** ((-2 * i) / size));
}

/** By the name in `rope_type`. */
const scalings: Readonly<Record<string, Scaling>> = {
  default: (_, frequencies) => ({ frequencies, factor: 1 }),

  linear: (scaling, plain) => {
    const by = scaling.number('factor');
    return { frequencies: plain.map((frequency) => frequency / by), factor: 1 };
  },

  /** Changes nothing but for sequences beyond what the network was trained for. */
  dynamic: (scaling, frequencies, { positions, trained: first, longest }) => {
    scaling.number('factor');
    const trained = scaling.count(firstLength, first ?? positions);
    if (longest > trained)
      throw new VertexqError(
        'ERR_VERTEXQ_DECODER',
        `${scaling.path}: sequences of ${longest} tokens are longer than the ${trained} that "dynamic" scaling leaves as they are: give shorter ones`,
      );
    return { frequencies, factor: 1 };
  },

  /** Of Llama 3.1: low frequencies divided by the factor, high ones kept, between them a mean of both. */
  llama3: (scaling, plain, { trained: first }) => {
    const [by, low, high] = ['factor', 'low_freq_factor', 'high_freq_factor'].map((key) =>
      scaling.number(key),
    ) as [number, number, number];
    const trained = scaling.count(firstLength, first);
    const frequencies = plain.map((frequency) => {
      const turns = (trained * frequency) / (2 * Math.PI);
      const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
      return kept * frequency + ((1 - kept) * frequency) / by;
    });
    return { frequencies, factor: 1 };
  },

  /** Peng et al., YaRN (2023), section 3.2 and equation 22. */
  yarn: (scaling, plain, { size, theta, positions, trained: first }) => {
    const trained = scaling.count(firstLength, first ?? positions);
    const by = scaling.number('factor', positions / trained);
    const [fast, slow] = [scaling.number('beta_fast', 32), scaling.number('beta_slow', 1)];
    const whole = scaling.flag('truncate', true);
    const placeOf = (turns: number) =>
      (size * Math.log(trained / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
    const [begin, end] = [placeOf(fast), placeOf(slow)];
    const from = Math.max(whole ? Math.floor(begin) : begin, 0);
    let to = Math.min(whole ? Math.ceil(end) : end, size - 1);
    if (from === to) to += 0.001;
    const frequencies = plain.map((frequency, i) => {
      const scaled = Math.min(1, Math.max(0, (i - from) / (to - from)));
      return (scaled * frequency) / by + (1 - scaled) * frequency;
    });
    return { frequencies, factor: yarnFactor(scaling, by) };
  },

  /** Of Phi-3: a divisor a frequency, one list for sequences within the length of the first training, one for longer ones. */
  longrope: (scaling, plain, { positions, trained: first, longest }) => {
    const trained = scaling.count(firstLength, first ?? positions);
    const by = scaling.number('factor', positions / trained);
    const lists = {
      short: scaling.numbers('short_factor', plain.length),
      long: scaling.numbers('long_factor', plain.length),
    };
    const list = longest > trained ? lists.long : lists.short;
    const factor = by <= 1 ? 1 : Math.sqrt(1 + Math.log(by) / Math.log(trained));
    return {
      frequencies: plain.map((frequency, i) => frequency / list[i]!),
      factor: scaling.number('attention_factor', factor),
    };
  },
};

function yarnFactor(scaling: ConfigReader, by: number): number {
  const factorOf = (scale: number, weight: number) => (scale <= 1 ? 1 : 0.1 * weight * Math.log(scale) + 1);
  const both = scaling.has('mscale') && scaling.has('mscale_all_dim');
  const weights = both ? [scaling.number('mscale'), scaling.number('mscale_all_dim')] : [];
  const computed =
    both && weights[0] !== 0 && weights[1] !== 0
      ? factorOf(by, weights[0]!) / factorOf(by, weights[1]!)
      : factorOf(by, 1);
  return scaling.number('attention_factor', computed);
}

/**
 * The rotation that a config describes. `scaling`: its object on the subject; null where there is none. Throws ERR_VERTEXQ_DECODER at a
 * scaling that is not known.
 */
export function rotationOf(scaling: ConfigReader | null, context: Context): Rotation {
  const { size, theta } = context;
  const plain = plainFrequencies(theta, size);
  if (!scaling) return { size, frequencies: plain, factor: 1 };
  const key = scaling.has('rope_type') || !scaling.has('type') ? 'rope_type' : 'type';
  scaling.ignore(['rope_type', 'type', 'rope_theta', 'partial_rotary_factor']);
  const kind = scaling.text(key, 'default');
  // What Phi-3's first files called it.
  const known = kind === 'su' ? 'longrope' : kind;
  if (!Object.hasOwn(scalings, known))
    throw scaling.wrong(
      key,
      `one of ${Object.keys(scalings).join(', ')}: no other is known (--method msq needs none)`,
    );
  const made = scalings[known]!(scaling, plain, context);
  const [unknown] = scaling.unknown;
  if (unknown !== undefined)
    throw scaling.wrong(unknown, `absent: the scaling "${kind}" is not known to have it`);
  return { size, ...made };
}
