import { VertexqError } from '../errors';
import { requireMemory } from '../memory';
import { describe } from '../options/messages';
import { checkDataOptions, type Given } from '../options/relations';
import { Turns } from '../yielding';
import { batchNamesOf, withBatchAxes } from './data/batch-axes';
import { type Division, divide, type Batching, total, whole } from './data/divide';
import { completeFeeds, isMadeInput } from './data/made-inputs';
import { firstNotFinite } from './data/not-finite';
import { feedsOf, type Batch, type Padding, type Piece } from './data/samples';
import { type DataSource, maxFeeds, readData } from './data/source';
import { calibrationError, type ModelInput } from './data/tensor-checks';
import type { AliveValues } from './forward/alive-values';
import type { CalibrationData, DataCounts, DataOptions, Feeds } from './types';
import { warn, type Warning } from '../warning-codes';

export { dataOptionsOf } from '../options/relations';
export type { ModelInput } from './data/tensor-checks';

/** Calibration data that is ready to be run. */
export interface CalibrationSet {
  /** What the fit sees: at least one feed. */
  fit: Feeds[];
  /** What is kept out of it: may be empty. */
  holdout: Feeds[];
  /** How many samples each has. */
  samples: { fit: number; holdout: number };
  counts: DataCounts;
  /** Samples of each held-out feed. */
  holdoutSizes: number[];
  /** What the network's inputs call the dimension of their samples. */
  batchNames: ReadonlySet<string>;
  /** The first number that is NaN, or else infinite, and where it stands; null where all are finite. */
  notFinite: string | null;
  warnings: Warning[];
}

/** Data of which nothing is held out. */
export interface PreparedSamples {
  feeds: Feeds[];
  /** How many samples there are, and how many each feed has. */
  samples: number;
  sizes: number[];
  /** What the network's inputs call the dimension of their samples. */
  batchNames: ReadonlySet<string>;
  /** The first number that is NaN, or else infinite, and where it stands; null where all are finite. */
  notFinite: string | null;
  warnings: Warning[];
}

export interface SampleOptions extends Given<DataOptions> {
  /** The network's inputs that are to be fed. */
  inputs: readonly ModelInput[];
  signal?: AbortSignal | undefined;
  /** How many tokens the network knows, where that is known. */
  vocabulary?: number | undefined;
  /** What the network's values take at most at once when it is run on such feeds; default: nothing is known of it. */
  alive?: ((feeds: Feeds) => Promise<AliveValues>) | undefined;
}

export interface CalibrationSetOptions extends SampleOptions {
  /** Share of the samples to hold out, from 0 and below 1, or data of its own. Default 0.1. */
  holdout?: number | CalibrationData | undefined;
}

const defaultHoldout = 0.1;
const defaultBatchSize = 32;
/**
 * Bytes of inputs that are run together where nobody says how many samples, and of all values that are there at once. Not by the memory
 * there is: the sums' last bits, and so the output's bytes, follow from what is run together.
 */
const maxBatchBytes = 2 ** 20;
const maxAliveBytes = 2 ** 27;
const maxSamples = 100_000_000;

/**
 * Reads calibration data, checks it against the network's inputs, and divides it between the fit and the held-out error.
 *
 * Data in one piece (files, or one feed) is cut into batches of `batchSize`, or of the first dimension that the network fixes;
 * samples that do not fill such a batch are dropped. Else a batch is as many samples as 1 MiB of inputs holds, and 128 MiB of values that
 * the network has at once (`alive`), but at least one and at most 32. Samples of different shapes are run apart, but for texts, which are padded. An
 * iterable of feeds is run as given. Held out are samples spread over the data; batches where the network fixes their size; and whole
 * feeds where there are 10 or more. The data is not copied, but for batches that are gathered from several places. Caches of a
 * generation model, and what goes with them, are made where the data has none.
 *
 * Rejects with TypeError and RangeError for arguments, ERR_VERTEXQ_CALIBRATION where the data does not fit the inputs, and what
 * reading files brings: ERR_VERTEXQ_FILE, ERR_VERTEXQ_NPY, ERR_VERTEXQ_NPZ, ERR_VERTEXQ_SAFETENSORS, ERR_VERTEXQ_TOKENIZER,
 * ERR_VERTEXQ_IMAGE, ERR_VERTEXQ_MEMORY, ERR_VERTEXQ_UNSUPPORTED; with the signal's reason when aborted.
 */
export async function prepareCalibrationSet(
  data: CalibrationData,
  { holdout = defaultHoldout, ...options }: CalibrationSetOptions,
): Promise<CalibrationSet> {
  const batching = batchingFor(options);
  if (typeof holdout === 'number' && !(holdout >= 0 && holdout < 1))
    throw new RangeError(
      `Expected the "holdout" option to be a fraction from 0 and below 1, or data, not ${describe(holdout)}`,
    );
  const source = await read(data, options, batching, 'calibration');
  const feeds = feedsFor(options.inputs, source.padding);
  if (typeof holdout === 'number')
    return prepared(await divide(source, holdout, batching, nameOf(data, 'calibration')), feeds, batching);
  const heldOut = await read(holdout, options, batching, 'holdout');
  const division = {
    fit: await whole(source, batching, nameOf(data, 'calibration')),
    holdout: await whole(heldOut, batching, nameOf(holdout, 'holdout')),
  };
  return prepared(division, feeds, batching, feedsFor(options.inputs, heldOut.padding));
}

/** Likewise for data that is all run, which messages call by `name`, its option. */
export async function prepareSamples(
  data: CalibrationData,
  name: string,
  options: SampleOptions,
): Promise<PreparedSamples> {
  const batching = batchingFor(options);
  const source = await read(data, options, batching, name);
  const batches = await whole(source, batching, nameOf(data, name));
  return {
    feeds: await allOf(batches, feedsFor(options.inputs, source.padding), options.signal),
    samples: total(batches),
    sizes: batches.map(({ samples }) => samples),
    batchNames: batchNamesOf(batching.inputs),
    notFinite: await firstNotFinite(batches, new Turns(options.signal)),
    warnings: batching.warnings,
  };
}

/** Checks the options. */
function batchingFor({ inputs, signal, ...options }: SampleOptions): Batching {
  checkDataOptions(options);
  const { batchSize } = options;
  if (inputs.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      'The network has no inputs: there is nothing to feed calibration data to',
    );
  const placed = withBatchAxes(inputs, options.batchAxis);
  const own = placed.filter((input) => !isMadeInput(input));
  const fixed = fixedBatch(own);
  const warnings: Warning[] = [];
  if (fixed !== null && batchSize !== undefined && batchSize !== fixed)
    warnings.push(
      warn(
        'WARN_VERTEXQ_NO_EFFECT',
        `The option "batchSize" (${batchSize}) has no effect: the network takes batches of ${fixed}`,
      ),
    );
  // Where no input has an axis of samples, nothing can be joined.
  const size = own.every(({ batchAxis }) => batchAxis === null)
    ? 1
    : (fixed ?? batchSize ?? defaultBatchSize);
  return { inputs: placed, fixed, size, warnings, signal };
}

async function read(
  data: CalibrationData,
  options: SampleOptions,
  batching: Batching,
  where: string,
): Promise<DataSource> {
  const source = await readData(data, { ...options, inputs: batching.inputs }, where);
  batching.warnings.push(...(source.warnings ?? []));
  if (batching.fixed === null && options.batchSize === undefined) {
    const largest = largestSample(source);
    batching.size = Math.min(batching.size, Math.max(1, Math.floor(maxBatchBytes / largest.bytes)));
    if (options.alive && !source.asGiven && batching.size > 1 && largest.piece.samples > 0)
      batching.size = await aliveSize(largest.piece, source, batching, options.alive, nameOf(data, where));
  }
  requireFewBatches(source, batching, nameOf(data, where));
  for (const [name, kind] of [
    ['tokenizer', 'text'],
    ['sequenceLength', 'text'],
    ['samples', 'text'],
    ['image', 'images'],
  ] as const)
    if (options[name] !== undefined && source.kind !== kind)
      batching.warnings.push(
        warn(
          'WARN_VERTEXQ_NO_EFFECT',
          `The option "${name}" has no effect: ${nameOf(data, where)} holds no ${kind}`,
        ),
      );
  if (options.skipBroken === true && source.kind === 'tensors')
    batching.warnings.push(
      warn(
        'WARN_VERTEXQ_NO_EFFECT',
        `The option "skipBroken" has no effect: ${nameOf(data, where)} holds neither text nor images`,
      ),
    );
  return source;
}

type MakeFeeds = (batch: Batch, turns: Turns) => Promise<Feeds>;

/** What turns a batch into feeds. */
function feedsFor(inputs: readonly ModelInput[], padding: Padding | null): MakeFeeds {
  return async (batch, turns) => completeFeeds(await feedsOf(batch, padding, turns), batch.samples, inputs);
}

async function allOf(
  batches: readonly Batch[],
  feeds: MakeFeeds,
  signal: AbortSignal | undefined,
): Promise<Feeds[]> {
  const turns = new Turns(signal);
  const all: Feeds[] = [];
  for (const batch of batches) {
    if (turns.due) await turns.next();
    all.push(await feeds(batch, turns));
  }
  return all;
}

async function prepared(
  { fit, holdout }: Division,
  feeds: MakeFeeds,
  { inputs, warnings, signal }: Batching,
  heldOutFeeds = feeds,
): Promise<CalibrationSet> {
  return {
    fit: await allOf(fit, feeds, signal),
    holdout: await allOf(holdout, heldOutFeeds, signal),
    samples: { fit: total(fit), holdout: total(holdout) },
    counts: { fit: countsOf(fit), holdout: countsOf(holdout) },
    holdoutSizes: holdout.map(({ samples }) => samples),
    batchNames: batchNamesOf(inputs),
    notFinite: await firstNotFinite([...fit, ...holdout], new Turns(signal)),
    warnings,
  };
}

function countsOf(batches: readonly Batch[]): DataCounts['fit'] {
  const documents = new Set<number>();
  const counts = { samples: total(batches), tokens: 0 as number | null };
  for (const { stretches } of batches)
    for (const { piece, begin, end } of stretches) {
      const { window, tensors, samples } = piece;
      if (window) documents.add(window.document);
      const ids = tensors.has('attention_mask') ? undefined : tensors.get('input_ids');
      const tokens = window?.tokens ?? (ids && (ids.data.length / samples) * (end - begin));
      counts.tokens = counts.tokens === null || tokens === undefined ? null : counts.tokens + tokens;
    }
  return { documents: documents.size || null, ...counts };
}

/** The piece whose samples are the largest, and what one of them takes. */
function largestSample({ pieces }: DataSource): { piece: Piece; bytes: number } {
  let largest = { piece: pieces[0]!, bytes: 1 };
  for (const piece of pieces) {
    let bytes = 0;
    for (const { data } of piece.tensors.values())
      bytes += Array.isArray(data) ? data.length : data.byteLength;
    if (bytes / piece.samples > largest.bytes) largest = { piece, bytes: bytes / piece.samples };
  }
  return largest;
}

/** How many samples are run together by what the network makes of a large one; one at least, where there is memory for it. */
async function aliveSize(
  piece: Piece,
  { padding }: DataSource,
  { inputs, size }: Batching,
  alive: NonNullable<SampleOptions['alive']>,
  what: string,
): Promise<number> {
  const sample = { stretches: [{ piece, begin: 0, end: 1 }], samples: 1 };
  const { bytes, at } = await alive(await feedsFor(inputs, padding)(sample, new Turns()));
  // As quantized so far and in float.
  if (bytes > maxAliveBytes)
    requireMemory(
      2 * bytes,
      `running the network on one sample of ${what}, up to ${describe(at)},`,
      'Give smaller samples: shorter texts ("maxLength"), smaller images ("image.size")',
    );
  return bytes === 0 ? size : Math.min(size, Math.max(1, Math.floor(maxAliveBytes / bytes)));
}

/** Samples and feeds take time and memory whatever their size: where a dimension is 0, no data bounds their number. */
function requireFewBatches({ pieces, asGiven }: DataSource, { size, fixed }: Batching, what: string): void {
  const samples = total(pieces);
  if (samples > maxSamples) throw calibrationError(what, `has ${samples} samples, more than ${maxSamples}`);
  if (asGiven || samples / size <= maxFeeds) return;
  const advice = fixed === null ? 'raise "batchSize", or give fewer' : 'give fewer';
  throw calibrationError(what, `has ${samples} samples, more than ${maxFeeds} batches of ${size}: ${advice}`);
}

/** How many samples the network takes at once, where it fixes that. Exporters write −1, and even 0, for free. */
function fixedBatch(inputs: readonly ModelInput[]): number | null {
  for (const { dims, batchAxis } of inputs) {
    const dim = batchAxis === null ? undefined : dims?.[batchAxis!];
    if (typeof dim === 'number' && dim > 0) return dim;
  }
  return null;
}

/** How messages call the data: by its file, if it is one. */
function nameOf(data: CalibrationData, option: string): string {
  if (typeof data === 'string') return data;
  return Array.isArray(data) && data.length === 1 && typeof data[0] === 'string' ? data[0] : option;
}
