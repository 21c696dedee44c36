import type { FloatDtype } from '../../formats/safetensors/dtypes';
import { layerGrid } from '../../options';
import type { CheckpointEncoding } from './encoding';

/** The values on the grid in the weight's own tensor. */
export const float: CheckpointEncoding = {
  isPlain: true,
  groupSize: 'channel',
  gridFor: layerGrid,
  check() {},
  unfit: () => undefined,
  layout(name, { dtype, shape }) {
    const outType = dtype as FloatDtype;
    return {
      packing: { order: 'values', outType, zeroShift: 0 },
      stored: { scales: 'F32', values: outType === 'F16' || outType === 'BF16' ? outType : null },
      ...{ codes: { name, dtype, shape }, scales: null, zeroPoints: null, constants: [] },
    };
  },
  config: () => null,
  configFile: null,
  warnings: () => [],
  found: null,
};
