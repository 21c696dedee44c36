import type { LayerSettings } from '../../layers/layer-settings';
import { quantizedLayer } from '../../layers/quantize-weights';
import { plainMethod } from '../../methods';
import { binding } from '../../native/binding';
import { Buffers } from '../../native/buffers';
import { finish, threadsFor } from '../../native/jobs';
import { type Shared, sharedBytes } from '../../native/shared';
import type { JobOptions, Progress, QuantizedLayer } from '../../types';
import type { TensorProto } from '../onnx/onnx_pb';
import type { Weights } from '../onnx/weights';
import { type Layer, storageOf } from './layer';
import { byNeurons, isByInputs } from './weight-values';

/**
 * Plain rounding of a layer that sees no rows: as `quantizeGroups` with the method `msq` and no data, but natively from the tensor's own
 * numbers to codes in shared memory, by the search that checkpoints take. undefined where that does not hold the numbers: float64.
 */
export async function roundWeight(
  layer: Layer,
  weights: Weights,
  { stored = { scales: 'F32', values: null }, ...settings }: LayerSettings,
  options: JobOptions,
  buffers = new Buffers(),
): Promise<QuantizedLayer | undefined> {
  const started = performance.now();
  const { signal, onProgress } = options;
  const { outFeatures, inFeatures } = layer;
  const { grid, levels, bits, groupSize, scale } = settings;
  let taken: Shared | undefined;
  const room = (bytes: number) => (taken = buffers.take(bytes));
  const { values, type } = await weights.numbers(layer.constant.tensor, signal, room);
  if (values instanceof Float64Array) return undefined;
  const rows = isByInputs(layer) ? values : await byNeurons(layer, values, signal);
  const groups = outFeatures * Math.ceil(inFeatures / groupSize);
  const parts = {
    codes: sharedBytes(outFeatures * inFeatures),
    scales: sharedBytes(4 * groups),
    zeroPoints: sharedBytes(4 * groups),
  };
  const found = await finish(
    () =>
      binding().roundRows({
        input: new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength),
        ...{ type, rows: outFeatures, cols: inFeatures, stride: isByInputs(layer) ? outFeatures : 0 },
        ...{ grid, levels, bits, groupSize, scale, ...parts },
        ...{ order: 'codes', outType: stored.scales, valueType: stored.values ?? 'F64', zeroShift: 0 },
        ...{ outFeatures, firstRow: 0, threads: threadsFor(options) },
      }),
    signal,
    onProgress && ((done, total) => onProgress({ stage: 'quantize', done, total })),
  );
  // Only here: of a job that was aborted, a thread may still be reading it.
  if (taken) buffers.give(taken);
  const done = {
    codes: new Int8Array(parts.codes.buffer),
    scales: new Float32Array(parts.scales.buffer),
    // None stand for nothing but 0: there may be many millions to look through.
    zeroPoints: found.hasZeroPoints ? new Float32Array(parts.zeroPoints.buffer) : new Float32Array(0),
    norms: {
      weight: { error: Math.sqrt(found.error), signal: Math.sqrt(found.signal) },
      calibration: null,
      holdout: null,
    },
    ...{ rank: 0, offAlphabet: found.offAlphabet, bound: null, sphereGapDb: null, passes: 0, damping: 0, walked: 0 },
  };
  return quantizedLayer(
    { ...layer, weight: rows, calibration: null, holdout: null },
    { ...settings, method: plainMethod },
    { done, method: plainMethod, fallenBack: null },
    started,
  );
}

/** Weights that are read and rounded before their turn: as many, of so many numbers together. */
const ahead = { weights: 2, numbers: 2 ** 26 };

type Rounding = Promise<QuantizedLayer | undefined>;
type OnProgress = (progress: Progress) => void;

/** Rounds weights that see no rows; where the order is known, those behind one while it is written. */
export class RoundedWeights {
  private readonly buffers = new Buffers();
  private readonly begun = new Map<Layer, Rounding>();
  private readonly upcoming: Layer[] = [];
  private current: Layer | undefined;
  private report: OnProgress | undefined;
  private told = 0;

  /** `layers`: in the order in which they are asked for, but for those that share what another has. */
  constructor(
    layers: readonly Layer[],
    private readonly round: (layer: Layer, onProgress: OnProgress, buffers: Buffers) => Rounding,
  ) {
    const forms = new Map<TensorProto, Set<string>>();
    for (const layer of layers) {
      const before = forms.get(layer.constant.tensor) ?? new Set();
      forms.set(layer.constant.tensor, before);
      if (!before.has(storageOf(layer))) this.upcoming.push(layer);
      before.add(storageOf(layer));
    }
  }

  /** A layer's rounded weight. Progress is told of one after the other. Rejects as `round`. */
  async take(layer: Layer, onProgress: OnProgress | undefined): Rounding {
    [this.current, this.report, this.told] = [layer, onProgress, 0];
    this.begin(layer);
    const place = this.upcoming.indexOf(layer);
    let numbers = 0;
    for (const next of place < 0 ? [] : this.upcoming.slice(place + 1, place + 1 + ahead.weights)) {
      numbers += next.outFeatures * next.inFeatures;
      if (numbers <= ahead.numbers) this.begin(next);
    }
    const rounded = await this.begun.get(layer)!;
    this.begun.delete(layer);
    const total = layer.outFeatures;
    if (rounded && this.told < total) onProgress?.({ stage: 'quantize', done: total, total });
    return rounded;
  }

  private begin(layer: Layer): void {
    if (this.begun.has(layer)) return;
    const onProgress = (progress: Progress) => {
      if (this.current !== layer) return;
      this.told = progress.done;
      this.report?.(progress);
    };
    const rounding = this.round(layer, onProgress, this.buffers);
    rounding.catch(() => {}); // told when its turn comes
    this.begun.set(layer, rounding);
  }
}
