import { VertexqError } from '../errors';
import { type Shared, sharedBytes, copyInParts } from '../native/shared';
import type { Batch } from './forward';

/** Numbers that are handed from one worker to another, and what is to be known of them. */
export interface Handed {
  /** JSON. */
  facts: unknown;
  bytes: Shared;
}

/** Arrays one behind the other; those of wider numbers have to come first. */
export async function inOnePiece(
  arrays: readonly (Float64Array | Float32Array | Int8Array)[],
  signal: AbortSignal | undefined,
): Promise<Shared> {
  const bytes = sharedBytes(arrays.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const { buffer, byteOffset, byteLength } of arrays) {
    const own = new Uint8Array(buffer, byteOffset, byteLength);
    await copyInParts(own, bytes.subarray(at, at + byteLength), signal);
    at += byteLength;
  }
  return bytes;
}

/** Where workers on one run leave for each other what they have made of their parts. */
export interface Exchange {
  has(name: string, part: number): Promise<boolean>;
  /** Keeps it for all: until what is made of it is there, or for the whole run. */
  put(name: string, part: number, handed: Handed, until?: 'settled' | 'end'): Promise<void>;
  /** Waits until it is there; undefined where `isNeedless` becomes true before. */
  get(name: string, part: number, isNeedless?: () => Promise<boolean>): Promise<Handed | undefined>;
  /** What was put since the last call until it is settled is needed by nobody once `isDone` is true. */
  settle(isDone: () => Promise<boolean>): Promise<void>;
}

/**
 * The parts of a run: each has some of the batches of calibration data, and some of the neurons of each layer. What comes of a run depends on how many there are, to
 * the last bit, and not on who does which.
 */
export interface Parts {
  readonly count: number;
  /** Whether it is done here. */
  readonly isOwn: (part: number) => boolean;
  /** null where all are done here. */
  readonly exchange: Exchange | null;
}

/** Whether a batch is run here; undefined where all are. */
export function ownBatches(
  batches: readonly Pick<Batch, 'heldOut'>[],
  parts: Parts | null,
): ((batch: number) => boolean) | undefined {
  if (!parts?.exchange) return undefined;
  const partOf = partsOfBatches(batches, parts.count);
  return (batch) => parts.isOwn(partOf[batch]!);
}

/** The part of each batch: as many, one after the other, in each, of those that are fitted to and of those that are held out. */
export function partsOfBatches(batches: readonly Pick<Batch, 'heldOut'>[], count: number): number[] {
  const total = { fit: 0, holdout: 0 };
  const kindOf = ({ heldOut }: Pick<Batch, 'heldOut'>) => (heldOut ? 'holdout' : 'fit');
  for (const batch of batches) total[kindOf(batch)]++;
  const next = { fit: 0, holdout: 0 };
  return batches.map((batch) => {
    const kind = kindOf(batch);
    return Math.floor((next[kind]++ * count) / total[kind]);
  });
}

/** Throws ERR_VERTEXQ_CALIBRATION where there are fewer batches to fit to than parts. */
export function requireBatches(batches: number, count: number): void {
  if (batches < count)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      `The calibration data makes ${batches} batches, and "parts" asks for ${count}: give more data, a smaller "batchSize", or fewer parts`,
    );
}

/** The neurons of a part: from `begin` and below `end`. */
export function neuronsOf(outFeatures: number, part: number, count: number): [begin: number, end: number] {
  return [Math.floor((part * outFeatures) / count), Math.floor(((part + 1) * outFeatures) / count)];
}
