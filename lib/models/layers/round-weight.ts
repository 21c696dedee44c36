import { VertexqError } from '../../errors';
import type { LayerSettings } from '../../fit/layer-settings';
import { quantizedLayer } from '../../fit/quantize-weights';
import { plainMethod } from '../../methods';
import { binding, type NativeFloat, type NativeRounded } from '../../native/binding';
import { Buffers } from '../../native/buffers';
import { finish, threadsFor } from '../../native/jobs';
import { type Shared, sharedBytes } from '../../native/shared';
import { numberBytes } from '../../native/tensors';
import type { JobOptions, QuantizedLayer } from '../../types';
import type { Weights } from '../../containers/onnx/weights';
import type { Layer } from './layer';
import { byNeurons, isByInputs, isByNeurons } from './weight-values';

/** Bytes of a file that are read and rounded at once: for fewer, starting jobs takes longer (with 2²⁰ a third more time of the cores), more take memory. */
const pieceBytes = 2 ** 24;

/** What became of a weight's numbers of a type. */
interface Rounded {
  type: NativeFloat;
  sums: NativeRounded;
}

/**
 * Plain rounding of a layer that sees no rows: as `quantizeGroups` with the method `msq` and no data, but natively from the tensor's own
 * numbers to codes in shared memory, by the search that checkpoints take. undefined where that does not hold the numbers: float64. `atOnce`:
 * bytes that are read of a file at once.
 */
export async function roundWeight(
  layer: Layer,
  weights: Weights,
  settings: LayerSettings,
  options: JobOptions,
  buffers = new Buffers(),
  atOnce = pieceBytes,
): Promise<QuantizedLayer | undefined> {
  const started = performance.now();
  const rounding = new Rounding(layer, weights, settings, options, buffers);
  const { codes, scales, zeroPoints } = rounding;
  const found = (await rounding.inPieces(atOnce)) ?? (await rounding.whole());
  if (!found) return undefined;
  const { type, sums } = found;
  const done = {
    codes: new Int8Array(codes.buffer, 0, codes.length),
    scales: new Float32Array(scales.buffer),
    // None stand for nothing but 0: there may be many millions to look through.
    zeroPoints: sums.hasZeroPoints ? new Float32Array(zeroPoints.buffer) : new Float32Array(0),
    norms: {
      weight: { error: Math.sqrt(sums.error), signal: Math.sqrt(sums.signal) },
      calibration: null,
      holdout: null,
      reported: null,
    },
    ...{
      rank: 0,
      offAlphabet: sums.offAlphabet,
      zeroedGroups: sums.zeroedGroups,
      bound: null,
      minima: null,
      sphereGapDb: null,
      passes: 0,
      damping: 0,
      walked: 0,
    },
  };
  return quantizedLayer(
    { ...layer, weight: { BYTES_PER_ELEMENT: numberBytes[type] }, calibration: null, holdout: null },
    { ...settings, method: plainMethod },
    { done, method: plainMethod, fallenBack: null },
    started,
  );
}

/** Neurons with all of their inputs or, where the tensor has neurons for columns, inputs of all neurons. */
interface Part {
  first: number;
  count: number;
}

/** One weight on its way to codes. */
class Rounding {
  readonly codes: Shared;
  /** [outFeatures, groups], as the zero points. */
  readonly scales: Shared;
  readonly zeroPoints: Shared;
  private readonly isByInputs: boolean;

  constructor(
    private readonly layer: Layer,
    private readonly weights: Weights,
    private readonly settings: LayerSettings,
    private readonly options: JobOptions,
    private readonly buffers: Buffers,
  ) {
    const { outFeatures, inFeatures } = layer;
    this.isByInputs = isByInputs(layer);
    this.codes = buffers.take(outFeatures * inFeatures);
    this.scales = sharedBytes(4 * outFeatures * this.groupsOf(inFeatures));
    this.zeroPoints = sharedBytes(this.scales.length);
  }

  /** undefined where the numbers are float64. */
  async whole(): Promise<Rounded | undefined> {
    const { layer, weights, options, buffers } = this;
    const { signal } = options;
    let taken: Shared | undefined;
    const room = (bytes: number) => (taken = buffers.take(bytes));
    const { values, type } = await weights.numbers(layer.constant.tensor, signal, room);
    if (values instanceof Float64Array) {
      buffers.give(this.codes);
      return undefined;
    }
    const rows = this.isByInputs ? values : await byNeurons(layer, values, signal);
    const { buffer, byteOffset, byteLength } = rows;
    const all = { first: 0, count: this.length };
    const sums = await this.round(new Uint8Array(buffer, byteOffset, byteLength), type, all);
    // Only here: of a job that was aborted, a thread may still be reading it.
    if (taken) buffers.give(taken);
    return { type, sums };
  }

  /**
   * Without the weight in memory. undefined where its numbers do not lie in a file in one of the two orders, and where something is wrong with them:
   * what, is for the weight as a whole to tell.
   */
  async inPieces(atOnce: number): Promise<Rounded | undefined> {
    const { layer, options, buffers, weights, isByInputs: across, length } = this;
    const { outFeatures, inFeatures } = layer;
    if (!across && !isByNeurons(layer)) return undefined;
    return weights.pieces(layer.constant.tensor, async (type, fill) => {
      if (type === 'F64') return undefined;
      const width = across ? outFeatures : inFeatures;
      const unit = across ? Math.min(this.settings.groupSize, inFeatures) : 1;
      const each = Math.max(1, Math.floor(atOnce / (numberBytes[type] * width * unit))) * unit;
      const piece = buffers.take(numberBytes[type] * width * Math.min(each, length));
      const sums: NativeRounded = {
        error: 0,
        signal: 0,
        offAlphabet: 0,
        zeroedGroups: 0,
        hasZeroPoints: false,
      };
      try {
        for (let first = 0; first < length; first += each) {
          const count = Math.min(each, length - first);
          const input = piece.subarray(0, numberBytes[type] * width * count);
          await fill(input, first * width);
          const found = await this.round(input, type, { first, count });
          sums.error += found.error;
          sums.signal += found.signal;
          sums.offAlphabet += found.offAlphabet;
          sums.zeroedGroups += found.zeroedGroups;
          sums.hasZeroPoints ||= found.hasZeroPoints;
        }
      } catch (error) {
        options.signal?.throwIfAborted();
        if (!(error instanceof VertexqError)) throw error;
        return undefined;
      }
      buffers.give(piece);
      // Whether a weight is lost that is not 0, all of them tell.
      return sums.error < sums.signal ? { type, sums } : undefined;
    });
  }

  /** Along which the tensor falls into pieces. */
  private get length(): number {
    return this.isByInputs ? this.layer.inFeatures : this.layer.outFeatures;
  }

  private groupsOf(inputs: number): number {
    return Math.ceil(inputs / this.settings.groupSize);
  }

  private async round(input: Uint8Array, type: NativeFloat, { first, count }: Part): Promise<NativeRounded> {
    const { options, isByInputs: across, length } = this;
    const { outFeatures, inFeatures } = this.layer;
    const { grid, levels, bits, groupSize, scale, stored = { scales: 'F32', values: null } } = this.settings;
    const { signal, onProgress } = options;
    const codesBefore = across ? first : first * inFeatures;
    const groupsBefore = across ? this.groupsOf(first) : first * this.groupsOf(inFeatures);
    const progress = (done: number, total: number) =>
      onProgress!({
        stage: 'quantize',
        done: Math.round(((first + (count * done) / total) / length) * outFeatures),
        total: outFeatures,
      });
    return finish(
      () =>
        binding().roundRows({
          ...{ input, type, grid, levels, bits, groupSize, scale },
          ...(across
            ? { rows: outFeatures, cols: count, stride: outFeatures }
            : { rows: count, cols: inFeatures, stride: 0 }),
          width: inFeatures,
          codes: this.codes.subarray(codesBefore),
          scales: this.scales.subarray(4 * groupsBefore),
          zeroPoints: this.zeroPoints.subarray(4 * groupsBefore),
          ...{ order: 'codes', outType: stored.scales, valueType: stored.values ?? 'F64', zeroShift: 0 },
          ...{ outFeatures, firstRow: 0, threads: threadsFor(options) },
        }),
      signal,
      onProgress && progress,
    );
  }
}
