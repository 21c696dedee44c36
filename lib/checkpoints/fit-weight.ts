import { located } from '../errors';
import { floatBytes } from '../containers/safetensors/dtypes';
import { packed, unpacked } from '../encodings/gguf/blocks';
import type { TensorFile } from '../containers/tensor-file';
import { quantizeWeights } from '../fit/quantize-weights';
import { rowsKind } from '../methods';
import { binding, type RowsKind } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import { type Shared, sharedBytes } from '../native/shared';
import { describe } from '../options/messages';
import type { JobOptions, LayerReport, QuantizedLayer } from '../types';
import type { CheckpointSettings } from './checkpoint-options';
import { convert, transposed } from '../native/tensors';
import { layerName, type PlannedWeight } from './planned-weight';
import { inPairs } from './gguf/rows';
import { lieAsBefore, readWeight, turned, turns } from './transposed';
import { readRecorded, type RecordedData, type RecordedInput } from './recorded-inputs';

/** The report on a weight that was fitted to data. */
export interface FittedFacts {
  report: LayerReport;
}

/** What was made of a recorded input last: the next layers often see the same. */
export class RecordedCache {
  private last: { input: RecordedInput; kind: RowsKind; data: Promise<RecordedData> } | undefined;

  of(input: RecordedInput, kind: RowsKind, share: number, options: JobOptions): Promise<RecordedData> {
    if (this.last?.input !== input || this.last.kind !== kind) {
      const data = readRecorded(input, kind, share, options).catch((error: unknown) => {
        throw located(`${input.file.path}: tensor ${describe(input.name)}`, error);
      });
      this.last = { input, kind, data };
    }
    return this.last.data;
  }
}

/** Fits a weight to what its layer sees and packs it into `parts`: codes, scales, zero points. */
export async function fitWeight(
  source: TensorFile,
  weight: PlannedWeight,
  parts: readonly (Uint8Array | null)[],
  cache: RecordedCache,
  { options, holdout }: CheckpointSettings,
): Promise<FittedFacts> {
  const { shape, dtype, recorded, layout, stride } = weight;
  const [outFeatures, inFeatures] = shape;
  const { signal } = options;
  const data = await cache.of(recorded!, rowsKind(weight.settings.method, false), holdout, options);
  const bytes = sharedBytes(outFeatures * inFeatures * floatBytes[dtype]);
  await readWeight(source, weight, bytes);
  const stored =
    dtype === 'F64' ? new Float64Array(bytes.buffer) : (await convert(bytes, dtype, 'F32', signal)).data;
  const values = stride > 0 ? await transposed(stored, inFeatures, outFeatures, signal) : stored;
  const settings = { ...weight.settings, stored: layout.stored };
  const job = { ...options };
  delete job.onProgress; // progress is told in bytes
  try {
    const layer = {
      name: layerName(weight),
      kind: 'Linear',
      weight: values,
      outFeatures,
      inFeatures,
      ...data,
    };
    const quantized = await quantizeWeights(layer, settings, job);
    await pack(quantized, weight, parts, threadsFor(options), signal);
    return { report: quantized.report };
  } catch (error) {
    throw located(`${source.path}: tensor ${describe(weight.name)}`, error);
  }
}

/** Packs what has become of a weight into `parts`. */
export async function pack(
  layer: QuantizedLayer,
  weight: PlannedWeight,
  [codesTo, scalesTo, zeroPointsTo]: readonly (Uint8Array | null)[],
  threads: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { shape, settings, layout, heads } = weight;
  const [rows, cols] = shape;
  if (layout.block) {
    const blocks = await packed(layout.block, layer, { threads, ...(signal && { signal }) });
    codesTo!.set(heads === null ? blocks : await inPairs(blocks, heads, blocks.length / rows, true, signal));
    return;
  }
  const { codes, scales, zeroPoints } = layer;
  await finish(
    () =>
      binding().packRows({
        ...{ input: codes, stepValues: scales, zeroValues: zeroPoints, rows, cols, threads },
        ...{ groupSize: settings.groupSize, bits: settings.bits },
        ...layout.packing,
        ...{ codes: codesTo!, scales: scalesTo ?? null, zeroPoints: zeroPointsTo ?? null },
        ...{ outFeatures: rows, firstRow: 0 },
      }),
    signal,
  );
  await lieAsBefore(weight, codesTo as Shared, signal);
}

/** The values that `pack` has written, as the fit gave them. */
export async function unpack(
  weight: PlannedWeight,
  [codes, scales, zeroPoints]: readonly (Shared | null)[],
  threads: number,
  signal: AbortSignal | undefined,
): Promise<Float32Array> {
  const { shape, dtype, settings, layout, heads } = weight;
  const [rows, cols] = shape;
  if (layout.block) {
    const values = await unpacked(layout.block, codes!, shape, { threads, ...(signal && { signal }) });
    if (heads === null) return values;
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    return new Float32Array((await inPairs(bytes, heads, 4 * cols, false, signal)).buffer);
  }
  const given = turns(weight) ? await turned(codes!, dtype, cols, rows, signal) : codes!;
  const valuesTo = new Float32Array(sharedBytes(4 * rows * cols).buffer);
  await finish(
    () =>
      binding().unpackRows({
        ...{ codes: given, scales: scales ?? null, zeroPoints: zeroPoints ?? null, valuesTo },
        ...{ rows, cols, groupSize: settings.groupSize, bits: settings.bits },
        ...layout.packing,
        ...{ outFeatures: rows, firstRow: 0, threads },
      }),
    signal,
  );
  return valuesTo;
}
