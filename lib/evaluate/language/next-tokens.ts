import { namingMemory } from '../../errors';
import type { DecoderShape } from '../../decoders/shape';
import { binding } from '../../native/binding';
import { finish, threadsFor } from '../../native/jobs';
import { sharedBytes } from '../../native/shared';
import type { ValueStore } from '../../models/forward/value-store';
import type { JobOptions } from '../../types';
import type { MatrixRows } from './language-model';

/** Bytes of a head's values in float32 that are there at a time, of each network. */
const panelBytes = 2 ** 25;
/** What is kept of a distribution (native/core/evaluate/next_token.h). */
const sumsSize = 5;

/** Places of a run of the networks at which the next token is known: which it is. */
export interface JudgedBatch {
  next: Int32Array;
}

/** What each network says of the next token at some places: [networks, places, 5]. */
export type NextTokenSums = Float64Array;

/** Rows of the head's weights that are there at a time. */
export const panelRows = (vocabulary: number, size: number): number =>
  Math.min(vocabulary, Math.max(1, Math.floor(panelBytes / (4 * size * 32))) * 32);

/** Bytes of what is kept of each place. */
export const bytesAPlace = (networks: number): number => 8 * sumsSize * networks;

/** Where what the head of a network takes is kept. */
export const hiddenName = (network: number): string => `hidden ${network}`;

/**
 * Goes through the vocabulary panel by panel, and sums what the networks say of the next token of each batch, from what their last blocks have
 * left in `hidden`: logits are never there as a whole. The first network is the one that the others are compared with.
 */
export async function sumNextTokens(
  batches: readonly JudgedBatch[],
  hidden: ValueStore,
  heads: readonly MatrixRows[],
  { scale, softCap }: DecoderShape,
  options: JobOptions,
  onBatch: (batch: number, rows: number) => void,
): Promise<NextTokenSums[]> {
  const [vocabulary, size] = heads[0]!.shape;
  const sides = heads.length;
  const sums = batches.map(({ next }) => {
    const own = new Float64Array(sharedBytes(bytesAPlace(sides) * next.length).buffer);
    for (let at = 0; at < own.length; at += sumsSize) [own[at], own[at + 2]] = [-Infinity, -1];
    return own;
  });
  const step = panelRows(vocabulary, size);
  const weights = new Float32Array(sharedBytes(4 * sides * step * size).buffer);
  for (let first = 0; first < vocabulary; first += step) {
    const count = Math.min(step, vocabulary - first);
    for (const [side, { rows }] of heads.entries())
      await rows(first, first + count, weights.subarray(side * count * size));
    for (const [batch, { next }] of batches.entries()) {
      await namingMemory(`the logits of sequences of batch ${batch}`, async () => {
        const taken = new Float32Array(sharedBytes(4 * sides * next.length * size).buffer);
        for (let side = 0; side < sides; side++) {
          const { data } = await hidden.get('seen', hiddenName(side), batch);
          taken.set(data as Float32Array, side * next.length * size);
        }
        await finish(
          () =>
            binding().addNextTokens({
              ...{ sides, tokens: next.length, size, first, count, next },
              ...{ scale: scale.logits, cap: softCap.logits ?? 0, threads: threadsFor(options) },
              ...{ hidden: taken, weights, sums: sums[batch]! },
            }),
          options.signal,
        );
      });
      onBatch(batch, count);
    }
  }
  return sums;
}

/** What a network says at one place of its sums. */
export interface NextToken {
  /** −log of the probability of the token that comes, in nats; NaN where logits were not finite. */
  crossEntropy: number;
  /** Σ p·log(p / q) of the first network's p and this one's q. */
  divergence: number;
  /** Whether its most likely token is that of the first network. */
  isSame: boolean;
}

/** `network` at `place` of a batch. */
export function nextTokenAt(sums: NextTokenSums, places: number, network: number, place: number): NextToken {
  const float = place * sumsSize;
  const own = (network * places + place) * sumsSize;
  const logOf = (at: number) => sums[at]! + Math.log(sums[at + 1]!);
  const divergence = sums[own + 4]! / sums[float + 1]! - logOf(float) + logOf(own);
  return {
    crossEntropy: logOf(own) - sums[own + 3]!,
    // A difference of large numbers may be less than 0, which it is not.
    divergence: divergence < 0 ? 0 : divergence,
    isSame: sums[own + 2] === sums[float + 2],
  };
}
