import type { CheckedTensor, TensorData } from './tensor-checks';
import type { Feeds } from '../types';

// Calibration data as samples: pieces that each hold some, cut into batches without copying where a batch lies in one piece.

/** Checked tensors by input name. Those of rank 1 and more share their first dimension, `samples`. */
export interface Piece {
  tensors: ReadonlyMap<string, CheckedTensor>;
  samples: number;
}

/** Samples `begin` to `end` of a piece. */
interface Stretch {
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
 * Which of `count` units are held out when `held` of them are: evenly spread, beginning half a step in. To be called for one
 * unit after the other.
 */
export function spread(held: number, count: number): () => boolean {
  let sum = Math.floor(count / 2);
  return () => {
    sum += held;
    if (sum < count) return false;
    sum -= count;
    return true;
  };
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
export function cut(
  pieces: readonly Piece[],
  size: number,
  { keep = () => true, separate = false, padding = null }: CutOptions = {},
): Batch[] {
  const batches: Batch[] = [];
  let batch: Batch | null = null;
  let previous: Piece | null = null;
  for (const piece of pieces) {
    if (batch && (separate || shapeOf(previous!, padding) !== shapeOf(piece, padding))) batch = null;
    previous = piece;
    for (let sample = 0; sample < piece.samples; sample++) {
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
export function groupedByShape(pieces: readonly Piece[], padding: Padding | null): Piece[] {
  const groups = new Map<string, Piece[]>();
  for (const piece of pieces) {
    const shape = shapeOf(piece, padding);
    const group = groups.get(shape);
    if (group) group.push(piece);
    else groups.set(shape, [piece]);
  }
  return [...groups.values()].flat();
}

/**
 * Pieces of which this is equal can be fed at once: they have the same inputs, with dimensions equal but for the first, and equal
 * tensors of rank 0.
 */
function shapeOf({ tensors }: Piece, padding: Padding | null): string {
  const parts: unknown[] = [];
  for (const [name, { dims, data }] of tensors)
    parts.push(
      name,
      dims.length === 0 ? String(data[0]) : dims.slice(padding?.has(name) ? 2 : 1),
      dims.length,
    );
  return JSON.stringify(parts);
}

/** The tensors of a batch: views of the data, unless it is gathered from several places. */
export function feedsOf({ stretches, samples }: Batch, padding: Padding | null = null): Feeds {
  const [first] = stretches as [Stretch];
  // Defined rather than assigned: an input may be called `__proto__`.
  return Object.fromEntries(
    Array.from(first.piece.tensors, ([name, tensor]) => {
      const { dims, type } = tensor;
      if (dims.length === 0 || (stretches.length === 1 && samples === first.piece.samples))
        return [name, tensor];
      const fill = padding?.get(name);
      if (fill !== undefined) return [name, gatherPadded(stretches, name, samples, fill)];
      return [name, { data: gather(stretches, name, samples), dims: [samples, ...dims.slice(1)], type }];
    }),
  );
}

/** Rows of different lengths, each filled up to the longest. */
function gatherPadded(
  stretches: readonly Stretch[],
  name: string,
  samples: number,
  fill: number,
): CheckedTensor {
  const tensors = stretches.map(({ piece }) => piece.tensors.get(name)!);
  const { data: sample, type } = tensors[0]!;
  const longest = tensors.reduce((most, { dims }) => Math.max(most, dims[1]!), 0);
  // One element type stands for all: the copy only moves elements.
  const Elements = sample.constructor as Float64ArrayConstructor;
  const target = new Elements(samples * longest);
  target.fill((typeof sample[0] === 'bigint' ? BigInt(fill) : fill) as number);
  let row = 0;
  for (const [i, { begin, end }] of stretches.entries()) {
    const { data, dims } = tensors[i]!;
    const length = dims[1]!;
    for (let at = begin; at < end; at++, row++)
      target.set((data as Float64Array).subarray(at * length, (at + 1) * length), row * longest);
  }
  return { data: target, dims: [samples, longest], type };
}

function gather(stretches: readonly Stretch[], name: string, samples: number): TensorData {
  const parts = stretches.map(({ piece, begin, end }) => {
    const { data } = piece.tensors.get(name)!;
    const size = data.length / piece.samples;
    return Array.isArray(data)
      ? data.slice(begin * size, end * size)
      : (data.subarray(begin * size, end * size) as Float64Array);
  });
  const [first] = parts as [Float64Array | string[]];
  if (parts.length === 1) return first;
  if (Array.isArray(first)) return (parts as string[][]).flat();
  // One element type stands for all: the copy only moves elements.
  const target = new (first.constructor as Float64ArrayConstructor)(
    (first.length / (stretches[0]!.end - stretches[0]!.begin)) * samples,
  );
  let at = 0;
  for (const part of parts as Float64Array[]) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}
