import { binding, type CalibrationKind, type NativeCalibration, type NativePatches } from '../native/binding';
import { calling, finish, threadsFor } from '../native/jobs';
import { convert } from '../native/tensors';
import { isFloat32Array } from '../realms';
import type { FloatArray, JobOptions, LayerInput } from '../types';

/** Whether a layer says what the float layer saw. */
export function hasTarget(layer: LayerInput): boolean {
  return layer.targetActivations !== undefined || layer.crossGram !== undefined;
}

/**
 * A layer's calibration data, added batch by batch: memory for a few times inFeatures² float64 numbers, whatever the number of
 * samples.
 */
export class Calibration {
  /** Whether products of float32 rows are summed, whose roundings small errors drown in. */
  private sumsSingles = false;
  /** Σs and Σs² of the weights of all rows; null where none have any. */
  private weights: { sum: number; squares: number } | null = null;

  private constructor(
    readonly inFeatures: number,
    readonly kind: CalibrationKind,
    readonly groups: number,
    readonly native: NativeCalibration,
  ) {}

  /** For a layer of `groups` groups (of a convolution), each with inputs of its own; sums on the threads that a job may use. */
  static of(inFeatures: number, kind: CalibrationKind, options: JobOptions = {}, groups = 1): Calibration {
    const threads = threadsFor(options);
    return new Calibration(
      inFeatures,
      kind,
      groups,
      calling(() => new (binding().Calibration)(inFeatures, kind, groups, threads)),
    );
  }

  /** The data of one group. */
  group(index: number): Calibration {
    const native = calling(() => this.native.group(index));
    const own = new Calibration(this.inFeatures, this.kind, 1, native);
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
   * all sums so many times. Rejects with ERR_VERTEXQ_NOT_FINITE at a NaN or an infinity, ERR_VERTEXQ_CALIBRATION at a weight that is
   * negative or not finite.
   */
  async add(
    rows: FloatArray,
    targetRows?: FloatArray,
    signal?: AbortSignal,
    weights?: Float32Array,
  ): Promise<void> {
    this.sumsSingles ||= this.kind !== 'rows' && isFloat32Array(rows);
    if (targetRows === undefined) await finish(() => this.native.add(rows, undefined, weights), signal);
    // The addon takes both in the same precision.
    else if (isFloat32Array(rows) === isFloat32Array(targetRows))
      await finish(() => this.native.add(rows, targetRows, weights), signal);
    else {
      const [own, target] = [await wide(rows, signal), await wide(targetRows, signal)];
      await finish(() => this.native.add(own, target, weights), signal);
    }
    this.count(weights);
  }

  /** Adds the patches of a tensor to every group. Rejects as `add`, and with ERR_VERTEXQ_CALIBRATION where shape and attributes do not fit. */
  async addPatches(tensor: NativePatches, signal?: AbortSignal): Promise<void> {
    this.sumsSingles ||= this.kind !== 'rows';
    await finish(() => this.native.addPatches(tensor), signal);
    this.count(tensor.weights);
  }

  private count(weights: Float32Array | undefined): void {
    if (!weights) return;
    this.weights ??= { sum: 0, squares: 0 };
    for (const weight of weights) {
      this.weights.sum += weight;
      this.weights.squares += weight ** 2;
    }
  }

  /** Takes X̃ᵀX̃, and of kind `pairs` X̃ᵀX, for all the data. Rejects with ERR_VERTEXQ_GRAM if X̃ᵀX̃ is no Gram matrix. */
  async setGram(gram: Float64Array, crossGram?: Float64Array, signal?: AbortSignal): Promise<void> {
    await finish(
      () => (crossGram ? this.native.setGram(gram, crossGram) : this.native.setGram(gram)),
      signal,
    );
  }
}

const wide = async (values: FloatArray, signal: AbortSignal | undefined) =>
  isFloat32Array(values) ? (await convert(values, 'F32', 'F64', signal)).data : values;

/** The calibration and held-out data of a layer's input; null where it has none. */
export interface LayerData {
  calibration: Calibration | null;
  holdout: Calibration | null;
  /** Of weighted data: the held-out rows without weights. */
  plainHoldout: Calibration | null;
}

/** Reads a layer's data into what a kind keeps of it. */
export async function layerCalibration(
  layer: LayerInput,
  kind: CalibrationKind,
  options: JobOptions = {},
): Promise<LayerData> {
  const { signal } = options;
  const { inFeatures, activations, gram, holdout: heldOut } = layer;
  let calibration: Calibration | null = null;
  let holdout: Calibration | null = null;
  let plainHoldout: Calibration | null = null;
  const add = (to: Calibration, rows: FloatArray, target?: FloatArray, weights?: Float32Array) =>
    to.add(...inRange(kind, rows, kind === 'pairs' ? (target ?? rows) : undefined), signal, weights);
  if (activations ?? gram) calibration = Calibration.of(inFeatures, kind, options);
  if (activations) await add(calibration!, activations, layer.targetActivations, layer.rowWeights);
  if (gram) await calibration?.setGram(gram, layer.crossGram, signal);
  if (heldOut) {
    holdout = Calibration.of(inFeatures, kind, options);
    await add(holdout, heldOut, layer.targetHoldout, layer.holdoutWeights);
    if (layer.holdoutWeights) {
      plainHoldout = Calibration.of(inFeatures, kind, options);
      await add(plainHoldout, heldOut, layer.targetHoldout);
    } else if (layer.rowWeights) plainHoldout = holdout;
  }
  return { calibration, holdout, plainHoldout };
}

/** Squares of numbers from here on are far from the least float64 number. */
const tiny = 2 ** -400;

/**
 * Rows and their targets, times a common power of two where they are so small that nothing would be left of their squares.
 * It changes neither codes nor relative errors.
 */
function inRange(
  kind: CalibrationKind,
  rows: FloatArray,
  targets: FloatArray | undefined,
): [rows: FloatArray, targets: FloatArray | undefined] {
  if (kind === 'rows') return [rows, targets];
  const most = Math.max(largest(rows), targets && targets !== rows ? largest(targets) : 0);
  if (most === 0 || !(most < tiny)) return [rows, targets];
  const factor = 2 ** Math.min(1023, -Math.floor(Math.log2(most)));
  const scaled = Float64Array.from(rows, (value) => value * factor);
  return [scaled, targets && (targets === rows ? scaled : Float64Array.from(targets, (x) => x * factor))];
}

/** The largest absolute value; for float32 numbers, whose squares float64 holds, 1. */
function largest(values: FloatArray): number {
  if (isFloat32Array(values)) return 1;
  let most = 0;
  for (const value of values) if (Math.abs(value) > most) most = Math.abs(value);
  return most;
}
