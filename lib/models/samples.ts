import type { CheckedTensor, TensorData } from './tensor-checks';
import type { Feeds } from './types';

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
 * Cuts the samples that `keep` says (asked for each, in order) into batches of at most `size`. Batches do not go across
 * pieces of different shapes, nor, with `separate`, across any two pieces.
 */
export function cut(
  pieces: readonly Piece[],
  size: number,
  { keep = () => true, separate = false }: { keep?: () => boolean; separate?: boolean } = {},
): Batch[] {
  const batches: Batch[] = [];
  let batch: Batch | null = null;
  let previous: Piece | null = null;
  for (const piece of pieces) {
    if (batch && (separate || !sameShape(previous!, piece))) batch = null;
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

/** Whether samples of both can be fed at once: equal but for the first dimension, and with equal tensors of rank 0. */
function sameShape(a: Piece, b: Piece): boolean {
  for (const [name, { dims, data }] of a.tensors) {
    const other = b.tensors.get(name)!;
    if (dims.length !== other.dims.length) return false;
    if (
      dims.length === 0
        ? data[0] !== other.data[0]
        : dims.some((dim, axis) => axis > 0 && dim !== other.dims[axis])
    )
      return false;
  }
  return true;
}

/** The tensors of a batch: views of the data, unless it is gathered from several places. */
export function feedsOf({ stretches, samples }: Batch): Feeds {
  const [first] = stretches as [Stretch];
  // Defined rather than assigned: an input may be called `__proto__`.
  return Object.fromEntries(
    Array.from(first.piece.tensors, ([name, tensor]) => {
      const { dims, type } = tensor;
      if (dims.length === 0 || (stretches.length === 1 && samples === first.piece.samples))
        return [name, tensor];
      return [name, { data: gather(stretches, name, samples), dims: [samples, ...dims.slice(1)], type }];
    }),
  );
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
