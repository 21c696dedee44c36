import { VertexqError } from '../errors';
import { describe, requireInteger } from '../options';
import { calibrationError, type ModelInput } from './tensor-checks';
import { maxFeeds, readCalibration, type CalibrationSource } from './calibration-source';
import { cut, feedsOf, spread, type Batch, type Piece } from './samples';
import type { CalibrationData, Feeds } from './types';

export type { ModelInput } from './tensor-checks';

/** Calibration data that is ready to be run. */
export interface PreparedCalibration {
  /** What the fit sees: at least one feed. */
  fit: Feeds[];
  /** What is kept out of it: may be empty. */
  holdout: Feeds[];
  /** How many samples (first dimension) each has. */
  samples: { fit: number; holdout: number };
  warnings: string[];
}

export interface CalibrationOptions {
  /** Share of the samples to hold out, from 0 and below 1, or data of its own. Default 0.1. */
  holdout?: number | CalibrationData | undefined;
  /** Samples per feed of data in one piece. Default 32. */
  batchSize?: number | undefined;
  /** The network's inputs that are to be fed. */
  inputs: readonly ModelInput[];
}

const defaultHoldout = 0.1;
const defaultBatchSize = 32;
const maxSamples = 100_000_000;
/** From so many feeds on, whole ones are held out. */
const manyFeeds = 10;

/**
 * Reads calibration data, checks it against the network's inputs, and divides it between the fit and the held-out error.
 *
 * Data in one piece (files, or one feed) is cut into batches of `batchSize`, or of the first dimension that the network fixes;
 * samples that do not fill such a batch are dropped. An iterable of feeds is run as given. Held out are samples spread over the
 * data; batches where the network fixes their size; and whole feeds where there are 10 or more. The data is not copied, but
 * for batches that are gathered from several places.
 *
 * Rejects with TypeError and RangeError for arguments, ERR_VERTEXQ_CALIBRATION where the data does not fit the inputs, and what
 * reading files brings: ERR_VERTEXQ_FILE, ERR_VERTEXQ_NPY, ERR_VERTEXQ_NPZ, ERR_VERTEXQ_MEMORY, ERR_VERTEXQ_UNSUPPORTED.
 */
export async function prepareCalibration(
  data: CalibrationData,
  { holdout = defaultHoldout, batchSize, inputs }: CalibrationOptions,
): Promise<PreparedCalibration> {
  if (batchSize !== undefined) requireInteger('batchSize', batchSize, 1, Infinity);
  if (typeof holdout === 'number' && !(holdout >= 0 && holdout < 1))
    throw new RangeError(
      `Expected the "holdout" option to be a fraction from 0 and below 1, or data, not ${describe(holdout)}`,
    );
  if (inputs.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      'The network has no inputs: there is nothing to feed calibration data to',
    );
  const fixed = fixedBatch(inputs);
  const warnings: string[] = [];
  if (fixed !== null && batchSize !== undefined && batchSize !== fixed)
    warnings.push(
      `The option "batchSize" (${batchSize}) has no effect: the network takes batches of ${fixed}`,
    );
  const plan: Plan = { fixed, size: fixed ?? batchSize ?? defaultBatchSize, warnings };

  const source = await readCalibration(data, inputs, 'calibration');
  requireFewBatches(source, plan, nameOf(data, 'calibration'));
  if (typeof holdout === 'number')
    return prepared(divide(source, holdout, plan, nameOf(data, 'calibration')), warnings);
  const heldOut = await readCalibration(holdout, inputs, 'holdout');
  requireFewBatches(heldOut, plan, nameOf(holdout, 'holdout'));
  return prepared(
    {
      fit: whole(source, plan, nameOf(data, 'calibration')),
      holdout: whole(heldOut, plan, nameOf(holdout, 'holdout')),
    },
    warnings,
  );
}

interface Plan {
  /** The first dimension, where the network fixes it. */
  fixed: number | null;
  /** Samples per batch of data in one piece. */
  size: number;
  warnings: string[];
}

interface Division {
  fit: Batch[];
  holdout: Batch[];
}

function prepared({ fit, holdout }: Division, warnings: string[]): PreparedCalibration {
  return {
    fit: fit.map(feedsOf),
    holdout: holdout.map(feedsOf),
    samples: { fit: total(fit), holdout: total(holdout) },
    warnings,
  };
}

function total(batches: readonly { samples: number }[]): number {
  return batches.reduce((sum, { samples }) => sum + samples, 0);
}

/** Samples and feeds take time and memory whatever their size: where a dimension is 0, no data bounds their number. */
function requireFewBatches(
  { pieces, asGiven }: CalibrationSource,
  { size, fixed }: Plan,
  what: string,
): void {
  const samples = total(pieces);
  if (samples > maxSamples) throw calibrationError(what, `has ${samples} samples, more than ${maxSamples}`);
  if (asGiven || samples / size <= maxFeeds) return;
  const advice = fixed === null ? 'raise "batchSize", or give fewer' : 'give fewer';
  throw calibrationError(what, `has ${samples} samples, more than ${maxFeeds} batches of ${size}: ${advice}`);
}

/** The first dimension that the network fixes; null where it is free. Exporters write −1, and even 0, for free. */
function fixedBatch(inputs: readonly ModelInput[]): number | null {
  const fixed = inputs.flatMap(({ name, dims }) => {
    const first = dims?.[0];
    return typeof first === 'number' && first > 0 ? [{ name, first }] : [];
  });
  for (const { name, first } of fixed)
    if (first !== fixed[0]!.first)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `The network's inputs ${describe(fixed[0]!.name)} and ${describe(name)} have the fixed first dimensions ${fixed[0]!.first} and ${first}: expected the same, the samples`,
      );
  return fixed[0]?.first ?? null;
}

/** All of the data. */
function whole({ pieces, asGiven }: CalibrationSource, plan: Plan, what: string): Batch[] {
  return asGiven ? given(pieces, plan, what) : full(cut(pieces, plan.size), plan, what);
}

/** Feeds as they were given. */
function given(pieces: readonly Piece[], { fixed }: Plan, what: string): Batch[] {
  for (const [i, { samples }] of pieces.entries())
    if (fixed !== null && samples !== fixed)
      throw calibrationError(
        `${what}[${i}]`,
        `has ${samples} samples, and the network takes ${fixed} at once`,
      );
  return cut(pieces, Infinity, { separate: true });
}

/** Batches without those that a network of a fixed batch cannot take. */
function full(batches: Batch[], { fixed, warnings }: Plan, what: string): Batch[] {
  if (fixed === null) return batches;
  const kept = batches.filter(({ samples }) => samples === fixed);
  const dropped = total(batches) - total(kept);
  if (kept.length === 0)
    throw calibrationError(what, `has ${dropped} samples, and the network takes ${fixed} at once`);
  if (dropped > 0)
    warnings.push(
      `${what}: ${dropped} of ${total(batches)} samples left out, because the network takes ${fixed} at once`,
    );
  return kept;
}

/** Holds out a share of the data. */
function divide(source: CalibrationSource, share: number, plan: Plan, what: string): Division {
  if (share === 0) return { fit: whole(source, plan, what), holdout: [] };
  // A batch of a fixed size cannot be taken apart, and one of many given feeds need not be.
  return plan.fixed !== null || (source.asGiven && source.pieces.length >= manyFeeds)
    ? divideBatches(source, share, plan, what)
    : divideSamples(source, share, plan, what);
}

function divideBatches(source: CalibrationSource, share: number, plan: Plan, what: string): Division {
  const { fixed, warnings } = plan;
  const batches = whole(source, plan, what);
  const samples = total(batches);
  const held = source.asGiven && batches.length < manyFeeds ? 0 : heldOf(batches.length, share);
  const because = `because the network takes ${fixed} at once`;
  if (held === 0)
    warnings.push(
      `${what}: nothing of ${batches.length === 1 ? '1 batch' : `${batches.length} batches`} is held out, ${because}. Give more, or "holdout" data`,
    );
  const division: Division = { fit: [], holdout: [] };
  const isHeld = spread(held, batches.length);
  for (const batch of batches) division[isHeld() ? 'holdout' : 'fit'].push(batch);
  const heldOut = total(division.holdout);
  if (!source.asGiven && heldOut > 2 * share * samples + 1)
    warnings.push(`${what}: as many as ${heldOut} of ${samples} samples are held out, ${because}`);
  return division;
}

function divideSamples(source: CalibrationSource, share: number, plan: Plan, what: string): Division {
  const { pieces, asGiven } = source;
  const samples = total(pieces);
  const held = heldOf(samples, share);
  if (held === 0) plan.warnings.push(`${what}: nothing is held out, because there is only 1 sample`);
  const size = asGiven ? Infinity : plan.size;
  const [isHeld, isHeldAgain] = [spread(held, samples), spread(held, samples)];
  return {
    fit: cut(pieces, size, { keep: () => !isHeld(), separate: asGiven }),
    holdout: cut(pieces, size, { keep: isHeldAgain, separate: asGiven }),
  };
}

/** How many of `count` units to hold out: at least one where there are two, and never all. */
function heldOf(count: number, share: number): number {
  return Math.max(Math.min(Math.round(count * share), count - 1), Math.min(1, count - 1));
}

/** How messages call the data: by its file, if it is one. */
function nameOf(data: CalibrationData, option: string): string {
  if (typeof data === 'string') return data;
  return Array.isArray(data) && data.length === 1 && typeof data[0] === 'string' ? data[0] : option;
}
