import type { Layer } from '../../models/layers/layer';
import { rawLength } from '../../containers/onnx/element-types';
import { dataLength } from '../../containers/onnx/tensor';
import { storeFloat } from '../../models/write/float';
import { isOnlyUsedBy, storeInPlace } from '../../models/write/in-place';
import { refuseUneven } from '../encoding';
import { type ModelEncoding, ofIntegers, storedLike } from './encoding';

/** The values on the grid, in place of the weight's own where it may change there: all of its uses are quantized, and alike. */
export const float: ModelEncoding = {
  ...ofIntegers('float'),
  isPlain: true,
  check: (scheme) => refuseUneven('float', scheme),
  unfit: () => undefined,
  stored: (layer) => storedLike(layer, true),
  storeFor: (layer, { alike }) => (isInPlace(layer, alike) ? storeInPlace : storeFloat),
  lengthOf(layer, { alike }) {
    const { tensor, dims, dataType } = layer.constant;
    if (isInPlace(layer, alike)) return dataLength(tensor);
    return rawLength(
      dataType,
      dims.reduce((product, dim) => product * dim, 1),
    )!;
  },
};

const isInPlace = (layer: Layer, alike: readonly Layer[]) =>
  layer.constant.unchanged && isOnlyUsedBy(layer, alike.length);
