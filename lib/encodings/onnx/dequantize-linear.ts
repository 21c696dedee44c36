import { checkAlphabet } from './packed-blocks';
import { storeDequantizeLinear } from '../../models/write/dequantize';
import { storeMatMulNBits } from '../../models/write/matmulnbits';
import { raiseOpset } from '../../models/write/raise-opset';
import type { Layer } from '../../models/layers/layer';
import { type ModelEncoding, ofIntegers, type Surroundings } from './encoding';
import { isPackable, lengthIn } from './matmulnbits';

/** Integers that ONNX's own operator turns into floats. */
export const qdq: ModelEncoding = {
  ...ofIntegers('qdq'),
  // Runtimes know how to fuse the standard DequantizeLinear, in blocks since opset 21.
  prepare: raiseOpset,
  check: (alphabet) => checkAlphabet('qdq', alphabet),
  storeFor: (layer, surroundings) =>
    inBlocks(layer, surroundings) ? storeMatMulNBits : storeDequantizeLinear(surroundings.model),
  lengthOf: (layer, surroundings, codes) =>
    lengthIn(inBlocks(layer, surroundings), layer, surroundings, codes),
};

/** A DequantizeLinear would turn the whole table into floats for every look-up. */
const inBlocks = (layer: Layer, surroundings: Surroundings) =>
  layer.kind === 'Gather' && isPackable(surroundings);
