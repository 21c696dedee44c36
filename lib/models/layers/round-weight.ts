import type { LayerSettings } from '../../fit/layer-settings';
import { quantizedLayer } from '../../fit/quantize-weights';
import { plainMethod } from '../../methods';
import { binding } from '../../native/binding';
import { Buffers } from '../../native/buffers';
import { finish, threadsFor } from '../../native/jobs';
import { type Shared, sharedBytes } from '../../native/shared';
import type { JobOptions, QuantizedLayer } from '../../types';
import type { Weights } from '../onnx/weights';
import type { Layer } from './layer';
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
    codes: buffers.take(outFeatures * inFeatures),
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
    codes: new Int8Array(parts.codes.buffer, 0, parts.codes.length),
    scales: new Float32Array(parts.scales.buffer),
    // None stand for nothing but 0: there may be many millions to look through.
    zeroPoints: found.hasZeroPoints ? new Float32Array(parts.zeroPoints.buffer) : new Float32Array(0),
    norms: {
      weight: { error: Math.sqrt(found.error), signal: Math.sqrt(found.signal) },
      calibration: null,
      holdout: null,
      reported: null,
    },
    ...{
      rank: 0,
      offAlphabet: found.offAlphabet,
      bound: null,
      minima: null,
      sphereGapDb: null,
      passes: 0,
      damping: 0,
      walked: 0,
    },
  };
  return quantizedLayer(
    { ...layer, weight: rows, calibration: null, holdout: null },
    { ...settings, method: plainMethod },
    { done, method: plainMethod, fallenBack: null },
    started,
  );
}
