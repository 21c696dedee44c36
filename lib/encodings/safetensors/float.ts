import { layerGrid } from '../../options';
import { refuseUneven } from '../encoding';
import type { CheckpointEncoding } from './encoding';
import { layoutOfParts, part } from './layout';

/** The values on the grid in the weight's own tensor. */
export const float: CheckpointEncoding = {
  isPlain: true,
  holdsTransposed: true,
  groupSize: 'channel',
  gridFor: layerGrid,
  check: (scheme) => refuseUneven('float', scheme),
  unfit: () => undefined,
  layout: (shape, dtype) =>
    layoutOfParts({
      packing: { order: 'values', outType: dtype, zeroShift: 0 },
      stored: { scales: 'F32', values: dtype === 'F16' || dtype === 'BF16' ? dtype : null },
      ...{ codes: part(null, dtype, shape), scales: null, zeroPoints: null, constants: [] },
    }),
  config: () => null,
  configFile: null,
  warnings: () => [],
  found: null,
};
