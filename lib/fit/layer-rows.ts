import { located, VertexqError } from '../errors';
import { binding, type RowsKind, type NativeLayerRows, type NativePatches } from '../native/binding';
import { calling, finish, threadsFor } from '../native/jobs';
import { isShared, sharedCopy } from '../native/shared';
import { convert } from '../native/tensors';
import { isFloat32Array } from '../realms';
import type { FloatArray, JobOptions, LayerInput } from '../types';
import { inParts } from '../yielding';
import type { RequireUnchanged } from './given-arrays';

/** Whether a layer says what the float layer saw. */
export function hasTarget(layer: LayerInput): boolean {
  return layer.targetActivations !== undefined || layer.crossGram !== undefined;
}

/** What rows of calibration data come to. */
export interface Sums {
  samples: number;
  offered: number;
  /** Whether they are of float32 products. */
  sumsSingles: boolean;
  /** Σs and Σs² of the weights of the rows; null where they all count alike. */
  weights: { sum: number; squares: number } | null;
  /** inFeatures × inFeatures each: X̃ᵀX̃, and for pairs X̃ᵀX and XᵀX; none where there are no rows. */
  matrices: readonly Float64Array[];
}

/**
 * A layer's calibration data, added batch by batch: memory for a few times inFeatures² float64 numbers, whatever the number of
 * samples.
 */
export class LayerRows {
  /** Whether products of float32 rows are summed, whose roundings small errors drown in. */
  private sumsSingles = false;
  /** Σs and Σs² of the weights of all rows; null where none have any. */
  private weights: { sum: number; squares: number } | null = null;

  private constructor(
    readonly inFeatures: number,
    readonly kind: RowsKind,
    readonly groups: number,
    readonly native: NativeLayerRows,
  ) {}

  /** For a layer of `groups` groups (of a convolution), each with inputs of its own; sums on the threads that a job may use. */
  static of(inFeatures: number, kind: RowsKind, options: JobOptions = {}, groups = 1): LayerRows {
    const threads = threadsFor(options);
    return new LayerRows(
      inFeatures,
      kind,
      groups,
      calling(() => new (binding().LayerRows)(inFeatures, kind, groups, threads)),
    );
  }

  /** The data of one group. */
  group(index: number): LayerRows {
    const native = calling(() => this.native.group(index));
    const own = new LayerRows(this.inFeatures, this.kind, 1, native);
    own.sumsSingles = this.sumsSingles;
    own.weights = this.weights;
    return own;
  }

  /** Rows added so far; 0 for data that came as a Gram matrix. */
  get samples(): number {
    return this.native.samples;
  }

  /** Patches that there were: more than `samples` where not all were taken. */
  get offered(): number {
    return this.native.offered;
  }

  /**
   * As how many rows of one weight these count, (Σs)²/Σs²: `samples` without weights. A weight s stands for s equal rows, of which a fit
   * learns no more than of one.
   */
  get effectiveRows(): number {
    if (!this.weights) return this.samples;
    const { sum, squares } = this.weights;
    const rows = squares > 0 ? sum ** 2 / squares : 0;
    return this.offered > 0 ? (rows * this.samples) / this.offered : rows;
  }

  get isWeighted(): boolean {
    return this.weights !== null;
  }

  /** What an output error is told to, as a part of the weights' own error: about the square root of what such sums are off by, with room. */
  get resolution(): number {
    return this.sumsSingles ? 1e-3 : 1e-8;
  }

  /**
   * Adds rows, row-major [samples, inFeatures]; of kind `pairs` with what the float layer saw for them. `weights`, [samples]: each row enters
   * all sums so many times. `requireUnchanged` is asked before each part of the rows is read. Rejects with ERR_VERTEXQ_NOT_FINITE at a NaN or an infinity, ERR_VERTEXQ_CALIBRATION at a weight that is
   * negative or not finite.
   */
  async add(
    rows: FloatArray,
    targetRows?: FloatArray,
    signal?: AbortSignal,
    weights?: Float32Array,
    requireUnchanged?: RequireUnchanged,
  ): Promise<void> {
    this.sumsSingles ||= this.kind !== 'rows' && isFloat32Array(rows);
    // What lies in shared memory the addon reads where it is.
    const isThere = isShared(rows) && (targetRows === undefined || isShared(targetRows));
    for (const values of [rows, targetRows ?? rows]) requireUnchanged?.(values, 0, 0);
    const { inFeatures } = this;
    const count = rows.length / inFeatures;
    const slices = Math.floor(bytesAtOnce / (slice * inFeatures * rows.BYTES_PER_ELEMENT));
    const atOnce = isThere ? count : slice * Math.max(1, slices);
    for (let first = 0; first < count; first += atOnce) {
      const [begin, end] = [first * inFeatures, Math.min(rows.length, (first + atOnce) * inFeatures)];
      requireUnchanged?.(rows, begin, end);
      if (targetRows) requireUnchanged?.(targetRows, begin, end);
      try {
        await this.addPart(
          rows.subarray(begin, end),
          targetRows?.subarray(begin, end),
          signal,
          weights?.subarray(first, first + atOnce),
        );
      } catch (error) {
        throw first === 0 ? error : countedFrom(first, error);
      }
    }
    if (weights) await this.count(weights, signal);
  }

  private async addPart(
    rows: FloatArray,
    targetRows: FloatArray | undefined,
    signal: AbortSignal | undefined,
    weights: Float32Array | undefined,
  ): Promise<void> {
    let [own, target] = [rows, targetRows];
    // The addon takes both in the same precision.
    if (target && isFloat32Array(own) !== isFloat32Array(target))
      [own, target] = [await wide(own, signal), await wide(target, signal)];
    await finish(() => this.native.add(own, target, weights), signal);
  }

  /** Adds the patches of a tensor to every group. Rejects as `add`, and with ERR_VERTEXQ_CALIBRATION where shape and attributes do not fit. */
  async addPatches(tensor: NativePatches, signal?: AbortSignal): Promise<void> {
    this.sumsSingles ||= this.kind !== 'rows';
    const [values, targets] = [
      await readable(tensor.values, signal),
      tensor.targets && (await readable(tensor.targets, signal)),
    ];
    await finish(() => this.native.addPatches({ ...tensor, values, ...(targets && { targets }) }), signal);
    if (tensor.weights) await this.count(tensor.weights, signal);
  }

  /** What has been summed, for `addSums` of another. Not of kind `rows`. */
  async sums(signal?: AbortSignal): Promise<Sums> {
    const { kind, samples, offered, sumsSingles, weights } = this;
    if (samples === 0) return { samples, offered, sumsSingles, weights, matrices: [] };
    const { gram, cross, target } = await finish(() => this.native.sums(), signal);
    const matrices = kind === 'pairs' ? [gram, cross!, target!] : [gram];
    return { samples, offered, sumsSingles, weights, matrices };
  }

  /** Adds the sums of other rows; rows themselves cannot be added besides. They depend on the order of the calls to the last bit. */
  async addSums(sums: Sums, signal?: AbortSignal): Promise<void> {
    const { samples, offered, weights } = sums;
    this.sumsSingles ||= sums.sumsSingles;
    if (weights) {
      const own = (this.weights ??= { sum: 0, squares: 0 });
      own.sum += weights.sum;
      own.squares += weights.squares;
    }
    if (samples === 0) return;
    const [gram, cross = null, target = null] = sums.matrices;
    await finish(() => this.native.addSums({ gram: gram!, cross, target, samples, offered }), signal);
  }

  private async count(weights: Float32Array, signal: AbortSignal | undefined): Promise<void> {
    const sums = (this.weights ??= { sum: 0, squares: 0 });
    const add = (begin: number, end: number) => {
      for (const weight of weights.subarray(begin, end)) {
        sums.sum += weight;
        sums.squares += weight ** 2;
      }
    };
    await inParts(weights.length, add, signal);
  }

  /**
   * Takes X̃ᵀX̃, and of kind `pairs` X̃ᵀX, for all the data. Rejects with ERR_VERTEXQ_GRAM if X̃ᵀX̃ is no Gram matrix, or is 0 for an input
   * where X̃ᵀX is not.
   */
  async setGram(gram: Float64Array, crossGram?: Float64Array, signal?: AbortSignal): Promise<void> {
    const own = await readable(gram, signal);
    const cross = crossGram && (await readable(crossGram, signal));
    if (cross) await requireNoMoreThan(own, cross, this.inFeatures, signal);
    await finish(() => this.native.setGram(own, cross), signal);
  }
}

/** Bytes of rows that the addon copies at once, before it lets the event loop go on. */
const bytesAtOnce = 2 ** 23;
/** The addon sums so many rows at once: of parts of other lengths it would keep the rest. So sums do not depend on the parts, to the last bit. */
const slice = 512;

/** Numbers where the addon need not copy many of them at once. */
const readable = async <Values extends Float32Array | Float64Array>(
  values: Values,
  signal: AbortSignal | undefined,
): Promise<Values> =>
  isShared(values) || values.byteLength <= bytesAtOnce ? values : sharedCopy(values, signal);

/** Throws where an input is always 0 by `gram`, and has products with what the float layer saw by `cross`. */
async function requireNoMoreThan(
  gram: Float64Array,
  cross: Float64Array,
  inFeatures: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  for (let i = 0; i < inFeatures; i++) {
    if (gram[i * (inFeatures + 1)] !== 0) continue;
    const row = cross.subarray(i * inFeatures, (i + 1) * inFeatures);
    await inParts(inFeatures, (begin, end) => {
      const j = row.subarray(begin, end).findIndex((value) => value !== 0);
      if (j >= 0)
        throw new VertexqError(
          'ERR_VERTEXQ_GRAM',
          `"crossGram" does not belong to "gram": by "gram" input ${i} is always 0, and row ${i} of "crossGram", expected to be 0, is ${row[begin + j]} at column ${begin + j}`,
        );
    }, signal); // prettier-ignore
  }
}

/** The error of a part, with its sample among all of them. */
export function countedFrom(first: number, error: unknown): unknown {
  if (!(error instanceof VertexqError) || error.code !== 'ERR_VERTEXQ_NOT_FINITE') return error;
  const message = error.message.replace(
    / at sample (\d+)/,
    (_, own: string) => ` at sample ${first + Number(own)}`,
  );
  return new VertexqError(error.code, message, { cause: error.cause });
}

const wide = async (values: FloatArray, signal: AbortSignal | undefined) =>
  isFloat32Array(values) ? (await convert(values, 'F32', 'F64', signal)).data : values;

/** The calibration and held-out data of a layer's input; null where it has none. */
export interface LayerData {
  calibration: LayerRows | null;
  holdout: LayerRows | null;
  /** Of weighted data: the held-out rows without weights. */
  reported: LayerRows | null;
  /** Gradients by the outputs, as rows of outFeatures numbers; null where each neuron is fitted by itself. */
  outputs: LayerRows | null;
}

/** Reading of held-out data, which an error says. */
export const namingHoldout = (reading: Promise<void>): Promise<void> =>
  reading.catch((error: unknown) => {
    throw located('held-out data', error);
  });

/** Reads a layer's data into what a kind keeps of it. */
export async function layerCalibration(
  layer: LayerInput,
  kind: RowsKind,
  options: JobOptions = {},
  requireUnchanged?: RequireUnchanged,
): Promise<LayerData> {
  const { signal } = options;
  const { outFeatures, inFeatures, activations, gram, holdout: heldOut, outputGram } = layer;
  let calibration: LayerRows | null = null;
  let holdout: LayerRows | null = null;
  let reported: LayerRows | null = null;
  const add = async (to: LayerRows, rows: FloatArray, target?: FloatArray, weights?: Float32Array) =>
    to.add(
      ...(await inRange(
        kind,
        rows,
        kind === 'pairs' ? (target ?? rows) : undefined,
        signal,
        requireUnchanged,
      )),
      ...([signal, weights, requireUnchanged] as const),
    );
  if (activations ?? gram) calibration = LayerRows.of(inFeatures, kind, options);
  if (activations) await add(calibration!, activations, layer.targetActivations, layer.rowWeights);
  if (gram) await calibration?.setGram(gram, layer.crossGram, signal);
  if (heldOut) {
    holdout = LayerRows.of(inFeatures, kind, options);
    await namingHoldout(add(holdout, heldOut, layer.targetHoldout, layer.holdoutWeights));
    if (layer.holdoutWeights) {
      reported = LayerRows.of(inFeatures, kind, options);
      await namingHoldout(add(reported, heldOut, layer.targetHoldout));
    } else if (layer.rowWeights) reported = holdout;
  }
  const outputs = outputGram ? LayerRows.of(outFeatures, 'gram', options) : null;
  await outputs?.setGram(outputGram!, undefined, signal).catch((error: unknown) => {
    throw located('"outputGram"', error);
  });
  return { calibration, holdout, reported, outputs };
}

/** Squares of numbers from here on are far from the least float64 number. */
const tiny = 2 ** -400;

/**
 * Rows and their targets, times a common power of two where they are so small that nothing would be left of their squares.
 * It changes neither codes nor relative errors.
 */
async function inRange(
  kind: RowsKind,
  rows: FloatArray,
  targets: FloatArray | undefined,
  signal: AbortSignal | undefined,
  requireUnchanged: RequireUnchanged | undefined,
): Promise<[rows: FloatArray, targets: FloatArray | undefined]> {
  if (kind === 'rows') return [rows, targets];
  const ofTargets = targets && targets !== rows ? await largest(targets, signal) : 0;
  const most = Math.max(await largest(rows, signal), ofTargets);
  if (most === 0 || !(most < tiny)) return [rows, targets];
  const factor = 2 ** Math.min(1023, -Math.floor(Math.log2(most)));
  const scaled = async (values: FloatArray) => {
    const all = new Float64Array(values.length);
    const part = (begin: number, end: number) => {
      requireUnchanged?.(values, begin, end);
      for (let i = begin; i < end; i++) all[i] = values[i]! * factor;
    };
    await inParts(values.length, part, signal);
    return all;
  };
  const own = await scaled(rows);
  return [own, targets && (targets === rows ? own : await scaled(targets))];
}

/** The largest absolute value; for float32 numbers, whose squares float64 holds, 1. */
async function largest(values: FloatArray, signal: AbortSignal | undefined): Promise<number> {
  if (isFloat32Array(values)) return 1;
  let most = 0;
  const part = (begin: number, end: number) => {
    for (let i = begin; i < end; i++) most = Math.max(most, Math.abs(values[i]!) || 0);
  };
  await inParts(values.length, part, signal);
  return most;
}
