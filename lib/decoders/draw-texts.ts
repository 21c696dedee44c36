import { giveBackMemory } from '../native/freed-memory';
import { createHash } from 'node:crypto';
import { located } from '../errors';
import { requireMemory } from '../memory';
import { loadStage } from '../models/forward/stage-network';
import type { NodeProto } from '../containers/onnx/onnx_pb';
import type { ThreadedSession } from '../models/threaded-session';
import type { Feeds } from '../models/types';
import { binding } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import { sharedBytes } from '../native/shared';
import type { JobOptions, TensorLike } from '../types';
import type { OpenDecoder } from './open';
import type { DecoderShape } from './shape';

// Texts that a language model draws token by token, each from what it says of the next one: its own samples, at temperature 1.

/** Bytes of the weights of a part of the network, in float32: what is loaded by itself is below 2 GiB. */
const partBytes = 2 ** 28;
/**
 * Bytes of keys and values of the texts that are drawn together, and how many these are at most. Not by the memory there is: the last bits of logits, and
 * so perhaps a token, follow from what is run together.
 */
const cacheBytes = 2 ** 28;
const mostTogether = 32;
/** What tells the draws at a place of texts from those at the next: no run has more texts. */
export const mostTexts = 2 ** 24;
const seed = 0;

/** What a part of the network is given and gives: the blocks [first, end). */
interface PartPlan {
  /** null: tokens. */
  from: string | null;
  to: string;
  first: number;
  end: number;
}

/** How many texts of so many tokens are drawn together. */
export function textsTogether({ blocks, keyValueHeads, headSize }: DecoderShape, length: number): number {
  const each = 4 * blocks.length * 2 * keyValueHeads * headSize * length;
  return Math.max(1, Math.min(mostTogether, Math.floor(cacheBytes / each)));
}

/** What drawing texts takes: numbers in memory, and numbers that are gone over for each token. */
export function drawingCost(
  opened: OpenDecoder,
  [count, length]: readonly [number, number],
  most = partBytes,
): { numbers: number; weights: number; cacheOfToken: number } {
  const { shape } = opened;
  const weights = sumOf(blockNumbers(opened));
  const cacheOfToken = shape.blocks.length * 2 * shape.keyValueHeads * shape.headSize * length;
  const texts = Math.min(count, textsTogether(shape, length));
  return {
    // As they are read, in turn; and by the runtime. Of keys and values those before and behind a token.
    numbers: weights + Math.min(weights, most / 4) + texts * (3 * cacheOfToken + 2 * shape.vocabulary),
    ...{ weights, cacheOfToken },
  };
}

/**
 * Draws `count` texts of `length` tokens, [count, length], from the network in its form with a cache. Each begins with the token `start`; where that is null, with one
 * of all, by chance. They go on behind a token that ends a text, as those of chats do. A token depends on the network, `length` and its place alone: how many
 * texts are drawn does not matter, but for what the last ones are run with. Memory: all weights in float32, and what `textsTogether` allows.
 * The network is loaded in parts of `most` bytes. Rejects with ERR_VERTEXQ_MEMORY, ERR_VERTEXQ_NOT_FINITE, ERR_VERTEXQ_RUNTIME; with the signal's reason when aborted.
 */
export async function drawTexts(
  opened: OpenDecoder,
  start: number | null,
  [count, length]: readonly [number, number],
  options: JobOptions,
  most = partBytes,
): Promise<BigInt64Array<ArrayBuffer>> {
  const { shape } = opened;
  const { signal, onProgress } = options;
  const together = textsTogether(shape, length);
  const texts = new BigInt64Array(count * length);
  const network = await CachedNetwork.load(opened, [Math.min(count, together), length], most, signal);
  try {
    for (let first = 0; first < count; first += together) {
      const rows = Math.min(together, count - first);
      let tokens = BigInt64Array.from({ length: rows }, (_, row) =>
        BigInt(start ?? anyToken(first + row, shape.vocabulary)),
      );
      for (let place = 0; ; place++) {
        for (const [row, token] of tokens.entries()) texts[(first + row) * length + place] = token;
        onProgress?.({ stage: 'draw', done: first * length + rows * (place + 1), total: count * length });
        if (place === length - 1) break;
        signal?.throwIfAborted();
        const logits = await network.next(tokens, place);
        tokens = await drawn(logits, rows, first + place * mostTexts, options).catch((error: unknown) => {
          throw located('the text that the float network draws', error);
        });
      }
    }
  } finally {
    await network.release();
    await giveBackMemory();
  }
  return texts;
}

/** By the number of a text alone. */
function anyToken(text: number, vocabulary: number): number {
  return createHash('sha256').update(`text ${text}`).digest().readUIntBE(0, 6) % vocabulary;
}

/** A token for each row of logits. */
async function drawn(
  { data, dims }: TensorLike,
  rows: number,
  first: number,
  options: JobOptions,
): Promise<BigInt64Array<ArrayBuffer>> {
  const values = data as Float32Array;
  const classes = new Int32Array(sharedBytes(4 * rows).buffer);
  const given = { rows, size: dims.at(-1)!, seed, first, threads: threadsFor(options), values, classes };
  await finish(() => binding().drawClasses(given), options.signal);
  return BigInt64Array.from(classes, BigInt);
}

/** A network that is given a token after the other, in parts that are all loaded. Keys and values stay where they are computed. */
class CachedNetwork {
  private constructor(
    private readonly shape: DecoderShape,
    private readonly parts: readonly { plan: PartPlan; session: ThreadedSession }[],
  ) {}

  /** Rejects with ERR_VERTEXQ_MEMORY where there is no room for it, and for so many texts of so many tokens. */
  static async load(
    opened: OpenDecoder,
    dims: readonly [number, number],
    most: number,
    signal: AbortSignal | undefined,
  ): Promise<CachedNetwork> {
    const { shape, graph } = opened;
    requireMemory(
      4 * drawingCost(opened, dims, most).numbers,
      'drawing texts from the whole network at once',
      'Give text instead ("calibration"), on which it is run block by block',
    );
    const types = new Map(['input_ids', 'attention_mask', 'position_ids'].map((name) => [name, 'int64']));
    const parts: { plan: PartPlan; session: ThreadedSession }[] = [];
    const network = new CachedNetwork(shape, parts);
    try {
      for (const plan of partsOf(opened, most)) {
        signal?.throwIfAborted();
        const caches = cachesOf(plan);
        for (const { past } of caches) types.set(past, 'float32');
        if (plan.from !== null) types.set(plan.from, 'float32');
        const isBefore = (node: NodeProto) => plan.from !== null && node.output.includes(plan.from);
        const nodes = graph.order.filter((node) => !isBefore(node));
        const inputs = [...types].map(([name, type]) => ({ name, type }));
        const outputs = [plan.to, ...caches.map(({ present }) => present)];
        const substitutes = new Map();
        const what = `the network from block ${plan.first} to block ${plan.end}`;
        const session = await loadStage({ ...opened, nodes, inputs, outputs, substitutes }, what);
        parts.push({ plan, session });
        if (plan.from !== null) types.delete(plan.from);
        for (const { past } of caches) types.delete(past);
      }
    } catch (error) {
      await network.release();
      throw error;
    }
    return network;
  }

  /** The logits behind one more token of each text, [texts, 1, vocabulary]; `place` 0 begins new texts. */
  async next(tokens: BigInt64Array, place: number): Promise<TensorLike> {
    const texts = tokens.length;
    const all = (value: number, columns: number) => ({
      ...{ data: new BigInt64Array(texts * columns).fill(BigInt(value)), dims: [texts, columns] },
      type: 'int64' as const,
    });
    const given: Feeds = {
      input_ids: { data: tokens, dims: [texts, 1], type: 'int64' },
      attention_mask: all(1, place + 1),
      position_ids: all(place, 1),
    };
    const { keyValueHeads, headSize } = this.shape;
    let value: TensorLike | undefined;
    for (const { plan, session } of this.parts) {
      const caches = cachesOf(plan);
      const empty = { data: new Float32Array(0), dims: [texts, keyValueHeads, 0, headSize], type: 'float32' };
      const feeds = {
        ...given,
        ...(plan.from !== null && { [plan.from]: value! }),
        ...(place === 0 && Object.fromEntries(caches.map(({ past }) => [past, empty]))),
      };
      const carried = Object.fromEntries(caches.map(({ past, present }) => [present, past]));
      value = (await session.run(feeds, [plan.to], carried))[plan.to];
    }
    return value!;
  }

  async release(): Promise<void> {
    for (const { session } of this.parts) await session.release();
  }
}

/** Blocks that are loaded together. */
function partsOf(opened: OpenDecoder, most: number): PartPlan[] {
  const { ends } = opened;
  const numbers = blockNumbers(opened);
  const parts: PartPlan[] = [];
  let [first, size] = [0, 0];
  // The last of `ends` is what the head takes.
  for (const [block, own] of numbers.entries()) {
    if (block > first && 4 * (size + own) > most) {
      parts.push({ from: parts.at(-1)?.to ?? null, to: ends[block - 1]!, first, end: block });
      [first, size] = [block, 0];
    }
    size += own;
  }
  return [...parts, { from: parts.at(-1)?.to ?? null, to: 'logits', first, end: ends.length - 1 }];
}

/** How many numbers the weights of each block have, those of tables with the first block; last, of the head. */
function blockNumbers({ graph, shape, ends }: OpenDecoder): number[] {
  const { blocks, head, embedding } = shape.architecture.modules;
  const sizes = ends.map(() => 0);
  for (const { name, dims } of graph.proto.initializer) {
    const size = dims.reduce((product, dim) => product * Number(dim), 1);
    if (name.startsWith(`${blocks}.`)) sizes[Number(name.slice(blocks.length + 1).split('.')[0])]! += size;
    else if (name !== `${head}.weight`) sizes[0]! += size;
    if (name === `${shape.tied ? embedding : head}.weight`) sizes[sizes.length - 1]! += size;
  }
  return sizes;
}

const sumOf = (list: readonly number[]) => list.reduce((sum, size) => sum + size, 0);

function cachesOf({ first, end }: PartPlan): { past: string; present: string }[] {
  return Array.from({ length: end - first }, (_, i) => first + i).flatMap((block) =>
    ['key', 'value'].map((what) => ({
      past: `past_key_values.${block}.${what}`,
      present: `present.${block}.${what}`,
    })),
  );
}
