import { checkAlphabet } from './packed-blocks';
import { storeDequantizeLinear } from '../../models/write/dequantize';
import { storeMatMulNBits } from '../../models/write/matmulnbits';
import { raiseOpset } from '../../models/write/raise-opset';
import { type ModelEncoding, ofIntegers } from './encoding';
import { isPackable } from './matmulnbits';

/** Integers that ONNX's own operator turns into floats. */
export const qdq: ModelEncoding = {
  ...ofIntegers('qdq'),
  // Runtimes know how to fuse the standard DequantizeLinear, in blocks since opset 21.
  prepare: raiseOpset,
  check: (alphabet) => checkAlphabet('qdq', alphabet),
  storeFor: (layer, surroundings) =>
    // A DequantizeLinear would turn the whole table into floats for every look-up.
    layer.kind === 'Gather' && isPackable(surroundings)
      ? storeMatMulNBits
      : storeDequantizeLinear(surroundings.model),
};
