import { binding, type CalibrationKind, type NativeCalibration } from '../native/binding';
import { finish } from '../native/jobs';
import { fitsMoments } from '../options';
import type { FloatArray, LayerInput, Method } from '../types';

/** What a method needs to know of the data. `corrects`: whether it aims at what the float layer gave. */
export function calibrationKind(method: Method, corrects: boolean): CalibrationKind {
  if (!fitsMoments(method)) return 'rows';
  return corrects ? 'pairs' : 'gram';
}

/** Whether a layer says what the float layer saw. */
export function hasTarget(layer: LayerInput): boolean {
  return layer.targetActivations !== undefined || layer.crossGram !== undefined;
}

/**
 * A layer's calibration data, added batch by batch: memory for a few times inFeatures² float64 numbers, whatever the number of
 * samples.
 */
export class Calibration {
  readonly native: NativeCalibration;

  constructor(
    readonly inFeatures: number,
    readonly kind: CalibrationKind,
  ) {
    this.native = new (binding().Calibration)(inFeatures, kind);
  }

  /** Rows added so far; 0 for data that came as a Gram matrix. */
  get samples(): number {
    return this.native.samples;
  }

  /**
   * Adds rows, row-major [samples, inFeatures]; of kind `pairs` with what the float layer saw for them. Rejects with
   * ERR_VERTEXQ_NOT_FINITE at a NaN or an infinity.
   */
  async add(rows: FloatArray, targetRows?: FloatArray, signal?: AbortSignal): Promise<void> {
    if (targetRows === undefined) await finish(() => this.native.add(rows), signal);
    // The addon takes both in the same precision.
    else if (rows instanceof Float32Array === targetRows instanceof Float32Array)
      await finish(() => this.native.add(rows, targetRows), signal);
    else await this.add(Float64Array.from(rows), Float64Array.from(targetRows), signal);
  }

  /** Takes X̃ᵀX̃, and of kind `pairs` X̃ᵀX, for all the data. Rejects with ERR_VERTEXQ_GRAM if X̃ᵀX̃ is no Gram matrix. */
  async setGram(gram: Float64Array, crossGram?: Float64Array, signal?: AbortSignal): Promise<void> {
    await finish(
      () => (crossGram ? this.native.setGram(gram, crossGram) : this.native.setGram(gram)),
      signal,
    );
  }
}

/** The calibration and held-out data of a layer's input; null where it has none. */
export interface LayerData {
  calibration: Calibration | null;
  holdout: Calibration | null;
}

/** Reads a layer's data into what a kind keeps of it. */
export async function layerCalibration(
  layer: LayerInput,
  kind: CalibrationKind,
  signal?: AbortSignal,
): Promise<LayerData> {
  const { inFeatures, activations, gram, holdout: heldOut } = layer;
  let calibration: Calibration | null = null;
  let holdout: Calibration | null = null;
  const paired = (rows: FloatArray, target: FloatArray | undefined) =>
    kind === 'pairs' ? (target ?? rows) : undefined;
  if (activations ?? gram) calibration = new Calibration(inFeatures, kind);
  if (activations) await calibration?.add(activations, paired(activations, layer.targetActivations), signal);
  if (gram) await calibration?.setGram(gram, layer.crossGram, signal);
  if (heldOut) {
    holdout = new Calibration(inFeatures, kind);
    await holdout.add(heldOut, paired(heldOut, layer.targetHoldout), signal);
  }
  return { calibration, holdout };
}
