import { binding, type NativeCalibration } from '../native/binding';
import { finish } from '../native/jobs';
import type { FloatArray, LayerInput } from '../types';

/**
 * A layer's calibration data, added batch by batch: memory for 3·inFeatures² float64 numbers, whatever the number of samples.
 */
export class Calibration {
  readonly native: NativeCalibration;

  constructor(readonly inFeatures: number) {
    this.native = new (binding().Calibration)(inFeatures);
  }

  /** Rows added so far; 0 for data that came as a Gram matrix. */
  get samples(): number {
    return this.native.samples;
  }

  /** Adds rows, row-major [samples, inFeatures]. Rejects with ERR_VERTEXQ_NOT_FINITE at a NaN or an infinity. */
  async add(rows: FloatArray, signal?: AbortSignal): Promise<void> {
    await finish(() => this.native.add(rows), signal);
  }

  /** Takes X̃ᵀX̃ for all the data. Rejects with ERR_VERTEXQ_GRAM if it is no Gram matrix. */
  async setGram(gram: Float64Array, signal?: AbortSignal): Promise<void> {
    await finish(() => this.native.setGram(gram), signal);
  }
}

/** The calibration and held-out data of a layer's input; null where it has none. */
export async function layerCalibration(
  layer: LayerInput,
  signal?: AbortSignal,
): Promise<{ calibration: Calibration | null; holdout: Calibration | null }> {
  let calibration: Calibration | null = null;
  let holdout: Calibration | null = null;
  if (layer.activations ?? layer.gram) calibration = new Calibration(layer.inFeatures);
  if (layer.activations) await calibration?.add(layer.activations, signal);
  if (layer.gram) await calibration?.setGram(layer.gram, signal);
  if (layer.holdout) {
    holdout = new Calibration(layer.inFeatures);
    await holdout.add(layer.holdout, signal);
  }
  return { calibration, holdout };
}
