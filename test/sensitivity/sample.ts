import type { SensitiveLayer, Sensitivity } from '../../lib/sensitivity/types';

/** A square layer whose widths do four times less with each bit. */
export const layer = (
  name: string,
  size: number,
  weight: number,
  group: string | null = null,
): SensitiveLayer => ({
  ...{ name, group, shape: [size, size] },
  widths: [2, 3, 4, 8].map((bits) => ({ bits, bytes: (size * size * bits) / 8, change: weight * 4 ** -bits, error: 2 ** -bits })), // prettier-ignore
});

export const sampleSensitivity = (
  layers: SensitiveLayer[] = [layer('blk.0.up', 64, 1), layer('blk.0.down', 32, 3)],
): Sensitivity => ({
  ...{ schema: 1, version: '0', input: 'net', inputHash: '', data: { calibration: '', holdout: '' } },
  ...{ how: 'estimated', unit: 'kl', rows: 10, format: 'compressed-tensors', method: 'gptq', grid: null },
  ...{ layers, unmeasured: [], warnings: [], seconds: 0 },
});
