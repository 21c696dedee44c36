import { heldOutCount, spread } from '../../fit/held-out';
import { Turns } from '../../yielding';
import { calibrationError, type ModelInput } from './tensor-checks';
import { type Batch, cut, type Piece } from './samples';
import type { DataSource } from './source';
import { warn, type Warning } from '../../warning-codes';

// Which samples are run together, and which are held out.

/** How samples become batches. */
export interface Batching {
  /** The network's inputs with their batch axes. */
  inputs: readonly ModelInput[];
  /** Samples of a run, where the network fixes them. */
  fixed: number | null;
  /** Samples per batch of data in one piece. */
  size: number;
  warnings: Warning[];
  signal?: AbortSignal | undefined;
}

export interface Division {
  fit: Batch[];
  holdout: Batch[];
}

/** From so many feeds on, whole ones are held out. */
const manyFeeds = 10;

export function total(batches: readonly { samples: number }[]): number {
  return batches.reduce((sum, { samples }) => sum + samples, 0);
}

/** All of the data. */
export async function whole(
  { pieces, asGiven, padding }: DataSource,
  batching: Batching,
  what: string,
): Promise<Batch[]> {
  return asGiven
    ? given(pieces, batching, what)
    : full(await cut(pieces, batching.size, new Turns(batching.signal), { padding }), batching, what);
}

/** Feeds as they were given. */
function given(pieces: readonly Piece[], { fixed, signal }: Batching, what: string): Promise<Batch[]> {
  for (const [i, { samples }] of pieces.entries())
    if (fixed !== null && samples !== fixed)
      throw calibrationError(
        `${what}[${i}]`,
        `has ${samples} samples, and the network takes ${fixed} at once`,
      );
  return cut(pieces, Infinity, new Turns(signal), { separate: true });
}

/** Batches without those that a network of a fixed batch cannot take. */
function full(batches: Batch[], { fixed, warnings }: Batching, what: string): Batch[] {
  if (fixed === null) return batches;
  const kept = batches.filter(({ samples }) => samples === fixed);
  const dropped = total(batches) - total(kept);
  if (kept.length === 0)
    throw calibrationError(what, `has ${dropped} samples, and the network takes ${fixed} at once`);
  if (dropped > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_DATA_LEFT_OUT',
        `${what}: ${dropped} of ${total(batches)} samples left out, because the network takes ${fixed} at once`,
      ),
    );
  return kept;
}

/** Holds out a share of the data. */
export async function divide(
  source: DataSource,
  share: number,
  batching: Batching,
  what: string,
): Promise<Division> {
  if (share === 0) return { fit: await whole(source, batching, what), holdout: [] };
  if (source.inWindows) return divideDocuments(source, share, batching, what);
  // A batch of a fixed size cannot be taken apart, and one of many given feeds need not be.
  return batching.fixed !== null || (source.asGiven && source.pieces.length >= manyFeeds)
    ? divideBatches(source, share, batching, what)
    : divideSamples(source, share, batching, what);
}

/** Holds out whole documents, short and long ones: of a single one its last windows. */
async function divideDocuments(
  { pieces, padding }: DataSource,
  share: number,
  batching: Batching,
  what: string,
): Promise<Division> {
  const { size, fixed, warnings } = batching;
  const inOrder = [...pieces].sort((a, b) => a.window!.place - b.window!.place);
  const documents = new Map<number, Piece[]>();
  for (const piece of inOrder) {
    const { document } = piece.window!;
    const own = documents.get(document);
    if (own) own.push(piece);
    else documents.set(document, [piece]);
  }
  const held = new Set<Piece>();
  if (documents.size === 1) {
    const count = heldOutCount(pieces.length, share);
    for (const piece of inOrder.slice(pieces.length - count)) held.add(piece);
    warnings.push(
      count === 0
        ? warn('WARN_VERTEXQ_NO_HOLDOUT', `${what}: nothing is held out, because there is only 1 window`)
        : warn(
            'WARN_VERTEXQ_UNEVEN_HOLDOUT',
            `${what}: its last ${count} of ${pieces.length} windows are held out, because there is only 1 document: the error on them says less than that on others`,
          ),
    );
  } else {
    const isHeld = spread(heldOutCount(documents.size, share), documents.size);
    for (const [, windows] of [...documents].sort(([, a], [, b]) => tokensOf(a) - tokensOf(b)))
      if (isHeld()) for (const piece of windows) held.add(piece);
    const [most, all] = [tokensOf([...held]), tokensOf(pieces)];
    if (most > 2 * share * all)
      warnings.push(
        warn(
          'WARN_VERTEXQ_UNEVEN_HOLDOUT',
          `${what}: as many as ${most} of ${all} tokens are held out, because documents are held out whole, and there are only ${documents.size}`,
        ),
      );
  }
  // Pieces of texts are a sample each, asked for in order.
  const batchesOf = (isHeld: boolean) => {
    let next = 0;
    const keep = () => held.has(pieces[next++]!) === isHeld;
    return cut(pieces, size, new Turns(batching.signal), { keep, padding });
  };
  const holdout = await batchesOf(true);
  const fit = full(await batchesOf(false), batching, what);
  if (fixed === null || holdout.some(({ samples }) => samples === fixed))
    return { fit, holdout: full(holdout, batching, what) };
  if (held.size > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_NO_HOLDOUT',
        `${what}: nothing is held out, because the network takes ${fixed} windows at once`,
      ),
    );
  return { fit, holdout: [] };
}

function tokensOf(pieces: readonly Piece[]): number {
  return pieces.reduce((sum, { window }) => sum + window!.tokens, 0);
}

async function divideBatches(
  source: DataSource,
  share: number,
  batching: Batching,
  what: string,
): Promise<Division> {
  const { fixed, warnings } = batching;
  const batches = await whole(source, batching, what);
  const samples = total(batches);
  const held = source.asGiven && batches.length < manyFeeds ? 0 : heldOutCount(batches.length, share);
  const because = `because the network takes ${fixed} at once`;
  if (held === 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_NO_HOLDOUT',
        `${what}: nothing of ${batches.length === 1 ? '1 batch' : `${batches.length} batches`} is held out, ${because}. Give more, or "holdout" data`,
      ),
    );
  const division: Division = { fit: [], holdout: [] };
  const isHeld = spread(held, batches.length);
  for (const batch of batches) division[isHeld() ? 'holdout' : 'fit'].push(batch);
  const heldOut = total(division.holdout);
  if (!source.asGiven && heldOut > 2 * share * samples + 1)
    warnings.push(
      warn(
        'WARN_VERTEXQ_UNEVEN_HOLDOUT',
        `${what}: as many as ${heldOut} of ${samples} samples are held out, ${because}`,
      ),
    );
  return division;
}

async function divideSamples(
  source: DataSource,
  share: number,
  batching: Batching,
  what: string,
): Promise<Division> {
  const { pieces, asGiven, padding } = source;
  const samples = total(pieces);
  const held = heldOutCount(samples, share);
  if (held === 0)
    batching.warnings.push(
      warn('WARN_VERTEXQ_NO_HOLDOUT', `${what}: nothing is held out, because there is only 1 sample`),
    );
  const size = asGiven ? Infinity : batching.size;
  const [isHeld, isHeldAgain] = [spread(held, samples), spread(held, samples)];
  const turns = new Turns(batching.signal);
  return {
    fit: await cut(pieces, size, turns, { keep: () => !isHeld(), separate: asGiven, padding }),
    holdout: await cut(pieces, size, turns, { keep: isHeldAgain, separate: asGiven, padding }),
  };
}
