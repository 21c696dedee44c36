import type { FloatDtype } from '../../containers/safetensors/dtypes';
import { blockError, packed, rounded } from '../../encodings/gguf/blocks';
import type { GgufType } from '../../encodings/gguf/table';
import { quantizeWeights } from '../../fit/quantize-weights';
import type { LayerSettings } from '../../fit/layer-settings';
import type { Norms } from '../../native/binding';
import type { Shared } from '../../native/shared';
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
}

/** Rounds rows by themselves to blocks. Rejects as fits and `packed` do. */
export async function roundBlocks(
  type: GgufType,
  { name, data, dtype, rows, cols, firstRow }: FloatRows,
  settings: LayerSettings,
  options: JobOptions,
): Promise<{ blocks: Shared; norms: Norms }> {
  const job = { ...options };
  delete job.onProgress;
  const rounding = { data, type: dtype, firstRow };
  if (settings.scale === 'search') return rounded(type, rounding, [rows, cols], job);
  const { data: weight } = await convert(data, dtype, 'F32', options.signal);
  const none = { calibration: null, holdout: null };
  const layer = { name, kind: 'Linear', weight, outFeatures: rows, inFeatures: cols, ...none };
  const blocks = await packed(type, await quantizeWeights(layer, settings, job), job, firstRow);
  return { blocks, norms: await blockError(type, blocks, [rows, cols], rounding, job) };
}
