import { checkAlphabet, checkGroupSize } from './packed-blocks';
import { isSeen, type Layer } from '../../models/layers/layer';
import { storeDequantizeLinear } from '../../models/write/dequantize';
import { fitsMatMulNBits, storeMatMulNBits } from '../../models/write/matmulnbits';
import { type ModelEncoding, ofIntegers, type Surroundings } from './encoding';

/** Blocks of few bits that onnxruntime's own operators take: products, look-ups; for other layers as `qdq`. */
export const matmulnbits: ModelEncoding = {
  ...ofIntegers('matmulnbits'),
  check({ groupSize, ...alphabet }) {
    checkGroupSize(groupSize);
    checkAlphabet('matmulnbits', alphabet);
  },
  storeFor: (_layer, surroundings) =>
    isPackable(surroundings) ? storeMatMulNBits : storeDequantizeLinear(surroundings.model),
};

/** Whether onnxruntime's operators take over all that use a weight. To turn a product round, the rank of its other side must have been seen. */
export function isPackable({ alike, hasData }: Surroundings): boolean {
  return alike.every((layer) => fitsMatMulNBits(layer) && (!turns(layer) || (hasData && isSeen(layer))));
}

function turns({ input, kind }: Layer): boolean {
  return input?.rows.kind === 'axis' && input.rows.axis === -2 && kind !== 'Gemm';
}
