import { storeFloat } from '../../models/write/float';
import { isOnlyUsedBy, storeInPlace } from '../../models/write/in-place';
import { type ModelEncoding, ofIntegers, storedLike } from './encoding';

/** The values on the grid, in place of the weight's own where it may change there: all of its uses are quantized, and alike. */
export const float: ModelEncoding = {
  ...ofIntegers('float'),
  isPlain: true,
  check() {},
  unfit: () => undefined,
  stored: (layer) => storedLike(layer, true),
  storeFor: (layer, { alike }) =>
    layer.constant.unchanged && isOnlyUsedBy(layer, alike.length) ? storeInPlace : storeFloat,
};
