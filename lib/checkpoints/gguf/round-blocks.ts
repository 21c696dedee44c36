import type { FloatDtype } from '../../containers/safetensors/dtypes';
import { blockError, packed, rounded } from '../../encodings/gguf/blocks';
import { bytesOf, type GgufType } from '../../encodings/gguf/table';
import { quantizeWeights } from '../../fit/quantize-weights';
import type { LayerSettings } from '../../fit/layer-settings';
import type { RowSums } from '../../native/binding';
import { type Shared, sharedBytes } from '../../native/shared';
import { convert } from '../../native/tensors';
import type { JobOptions } from '../../types';

/** Rows of a float weight, and where they are among all of it. */
export interface FloatRows {
  name: string;
  data: Uint8Array;
  dtype: FloatDtype;
  rows: number;
  cols: number;
  firstRow: number;
  /** Of all of the weight. */
  outFeatures: number;
  /** What inputs count, of several matrices one behind the other; null for all alike. */
  importance: Float32Array | null;
}

/** Rounds rows by themselves to blocks. Rejects as fits and `packed` do. */
export async function roundBlocks(
  type: GgufType,
  given: FloatRows,
  settings: LayerSettings,
  options: JobOptions,
): Promise<{ blocks: Shared; norms: RowSums }> {
  const job = { ...options };
  delete job.onProgress;
  if (settings.scale === 'search') return roundWeighted(type, given, job);
  const { name, data, dtype, rows, cols, firstRow } = given;
  const rounding = { data, type: dtype, firstRow };
  const { data: weight } = await convert(data, dtype, 'F32', options.signal);
  const none = { calibration: null, holdout: null };
  const layer = { name, kind: 'Linear', weight, outFeatures: rows, inFeatures: cols, ...none };
  const blocks = await packed(type, await quantizeWeights(layer, settings, job), job, firstRow);
  return { blocks, norms: await blockError(type, blocks, [rows, cols], rounding, job) };
}

/** Each matrix's rows with what its inputs count. */
async function roundWeighted(
  type: GgufType,
  { data, dtype, rows, cols, firstRow, outFeatures, importance }: FloatRows,
  options: JobOptions,
): Promise<{ blocks: Shared; norms: RowSums }> {
  const each = importance ? (outFeatures * cols) / importance.length : outFeatures;
  const own = (row: number) => {
    const begin = Math.floor(row / each) * cols;
    return importance && importance.subarray(begin, begin + cols);
  };
  if (rows <= each - (firstRow % each))
    return rounded(type, { data, type: dtype, firstRow }, [rows, cols], options, own(firstRow));
  const made = {
    blocks: sharedBytes(bytesOf(type, [rows, cols])),
    norms: { error: 0, signal: 0, zeroedGroups: 0 },
  };
  const rowBytes = [data.length / rows, made.blocks.length / rows] as const;
  for (let row = 0, end; row < rows; row = end) {
    end = Math.min(rows, row + each - ((firstRow + row) % each));
    const part = data.subarray(row * rowBytes[0], end * rowBytes[0]);
    const from = { data: part, type: dtype, firstRow: firstRow + row };
    const { blocks, norms } = await rounded(type, from, [end - row, cols], options, own(firstRow + row));
    made.blocks.set(blocks, row * rowBytes[1]);
    made.norms.error += norms.error;
    made.norms.signal += norms.signal;
    made.norms.zeroedGroups += norms.zeroedGroups;
  }
  return made;
}
