import { createHash } from 'node:crypto';
import { type Turns } from '../../yielding';
import { copyInTurns, joinSlices, roomFor } from './slices';
import type { CheckedTensor } from './tensor-checks';
import type { Feeds } from '../types';

// Calibration data as samples: pieces that each hold some, cut into batches without copying where a batch lies in one piece.

/** Checked tensors by input name. Along their batch axes they have `samples` samples. */
export interface Piece {
  tensors: ReadonlyMap<string, CheckedTensor>;
  /** By input; null where the tensor is the same for all samples. Without it all have their samples along the first axis. */
  axes?: ReadonlyMap<string, number | null>;
  samples: number;
  /** Its file, with the line or the sample there, or the option that it was given by; none of texts and images. */
  where?: string;
  /** Of a text: it is one sample. */
  window?: PlacedWindow;
}

/** What a piece is of the texts: the number of its document, its place among all windows, and its tokens. */
export interface PlacedWindow {
  document: number;
  place: number;
  tokens: number;
}

/** The batch axis of a piece's tensor; null for one that all samples share, such as any of rank 0. */
export function axisIn({ axes }: Piece, name: string, { dims }: CheckedTensor): number | null {
  return dims.length === 0 ? null : axes ? axes.get(name)! : 0;
}

/** Samples `begin` to `end` of a piece. */
export interface Stretch {
  piece: Piece;
  begin: number;
  end: number;
}

/** Samples to be fed at once. */
export interface Batch {
  stretches: Stretch[];
  samples: number;
}

/**
 * What fills up the shorter samples of a batch, by input: their second dimension may differ then. Such tensors are of numbers and
 * have two dimensions.
 */
export type Padding = ReadonlyMap<string, number>;

export interface CutOptions {
  keep?: () => boolean;
  separate?: boolean;
  padding?: Padding | null;
}

/**
 * Cuts the samples that `keep` says (asked for each, in order) into batches of at most `size`. Batches do not go across
 * pieces of different shapes, but for what `padding` fills up, nor, with `separate`, across any two pieces.
 */
export async function cut(
  pieces: readonly Piece[],
  size: number,
  turns: Turns,
  { keep = () => true, separate = false, padding = null }: CutOptions = {},
): Promise<Batch[]> {
  const batches: Batch[] = [];
  let batch: Batch | null = null;
  let before: string | null = null;
  for (const piece of pieces) {
    const shape = separate ? null : await shapeOf(piece, padding, turns);
    if (separate || shape !== before) batch = null;
    before = shape;
    for (let sample = 0; sample < piece.samples; sample++) {
      if (turns.due) await turns.next();
      if (!keep()) continue;
      if (!batch || batch.samples === size) batches.push((batch = { stretches: [], samples: 0 }));
      const last = batch.stretches.at(-1);
      if (last?.piece === piece && last.end === sample) last.end++;
      else batch.stretches.push({ piece, begin: sample, end: sample + 1 });
      batch.samples++;
    }
  }
  return batches;
}

/** The pieces, those of equal shape one behind the other, in the order in which the shapes come first. */
export async function groupedByShape(
  pieces: readonly Piece[],
  padding: Padding | null,
  turns: Turns,
): Promise<Piece[]> {
  const groups = new Map<string, Piece[]>();
  for (const piece of pieces) {
    if (turns.due) await turns.next();
    const shape = await shapeOf(piece, padding, turns);
    const group = groups.get(shape);
    if (group) group.push(piece);
    else groups.set(shape, [piece]);
  }
  return [...groups.values()].flat();
}

/**
 * Pieces of which this is equal can be fed at once: they have the same inputs, with dimensions equal but for the batch axis, and
 * those without one equal.
 */
async function shapeOf(piece: Piece, padding: Padding | null, turns: Turns): Promise<string> {
  const parts: unknown[] = [];
  for (const [name, tensor] of piece.tensors) {
    const { dims } = tensor;
    const axis = axisIn(piece, name, tensor);
    const free = (_: number, i: number) => i !== axis && !(padding?.has(name) && i === 1);
    parts.push(
      name,
      axis,
      axis === null ? await contentOf(tensor, turns) : null,
      dims.filter(free),
      dims.length,
    );
  }
  return JSON.stringify(parts);
}

const contents = new WeakMap<CheckedTensor, string>();

/** Elements that are hashed at once. */
const hashedAtOnce = 2 ** 18;

/** What tells a tensor from others of its shape. */
async function contentOf(tensor: CheckedTensor, turns: Turns): Promise<string> {
  const { data } = tensor;
  if (data.length === 1) return String(data[0]);
  let content = contents.get(tensor);
  if (content === undefined) {
    const hash = createHash('sha256');
    for (let begin = 0; begin < data.length; begin += hashedAtOnce) {
      if (turns.due) await turns.next();
      const end = Math.min(data.length, begin + hashedAtOnce);
      hash.update(Array.isArray(data) ? JSON.stringify(data.slice(begin, end)) : data.subarray(begin, end));
    }
    content = hash.digest('base64');
    contents.set(tensor, content);
  }
  return content;
}

/** The tensors of a batch: views of the data, unless it is gathered from several places. */
export async function feedsOf(
  { stretches, samples }: Batch,
  padding: Padding | null,
  turns: Turns,
): Promise<Feeds> {
  const [first] = stretches as [Stretch];
  const feeds: [string, CheckedTensor][] = [];
  for (const [name, tensor] of first.piece.tensors) {
    const axis = axisIn(first.piece, name, tensor);
    const fill = padding?.get(name);
    if (axis === null || (stretches.length === 1 && samples === first.piece.samples))
      feeds.push([name, tensor]);
    else if (fill !== undefined)
      feeds.push([name, await gatherPadded(stretches, name, samples, fill, turns)]);
    else {
      const slices = stretches.map(({ piece, begin, end }) => ({
        tensor: piece.tensors.get(name)!,
        begin,
        end,
      }));
      feeds.push([name, await joinSlices(slices, axis, turns)]);
    }
  }
  // Defined rather than assigned: an input may be called `__proto__`.
  return Object.fromEntries(feeds);
}

/** Rows of different lengths, each filled up to the longest. */
async function gatherPadded(
  stretches: readonly Stretch[],
  name: string,
  samples: number,
  fill: number,
  turns: Turns,
): Promise<CheckedTensor> {
  const tensors = stretches.map(({ piece }) => piece.tensors.get(name)!);
  const { data: sample, type } = tensors[0]!;
  const longest = tensors.reduce((most, { dims }) => Math.max(most, dims[1]!), 0);
  // One element type stands for all: the copy only moves elements.
  const target = roomFor(sample, samples * longest) as Float64Array;
  const filled = (typeof sample[0] === 'bigint' ? BigInt(fill) : fill) as number;
  let row = 0;
  for (const [i, { begin, end }] of stretches.entries()) {
    const { data, dims } = tensors[i]!;
    const length = dims[1]!;
    for (let at = begin; at < end; at++, row++) {
      await copyInTurns(
        (data as Float64Array).subarray(at * length, (at + 1) * length),
        target,
        row * longest,
        turns,
      );
      target.fill(filled, row * longest + length, (row + 1) * longest);
    }
  }
  return { data: target, dims: [samples, longest], type };
}
