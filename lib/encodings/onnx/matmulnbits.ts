import { isSeen, type Layer } from '../../models/layers/layer';
import { dequantizeLinearLength, storeDequantizeLinear } from '../../models/write/dequantize';
import { fitsMatMulNBits, storeMatMulNBits } from '../../models/write/matmulnbits';
import { type ModelEncoding, ofIntegers, storedLike, type Surroundings } from './encoding';
import type { PlannedCodes } from './integer-codes';
import { checkAlphabet, checkGroupSize, packedLength } from './packed-blocks';

/** Blocks of few bits that onnxruntime's own operators take: products, look-ups; for other layers as `qdq`. */
export const matmulnbits: ModelEncoding = {
  ...ofIntegers('matmulnbits'),
  check({ groupSize, ...alphabet }) {
    checkGroupSize(groupSize);
    checkAlphabet('matmulnbits', alphabet);
  },
  storeFor: (_layer, surroundings) =>
    isPackable(surroundings) ? storeMatMulNBits : storeDequantizeLinear(surroundings.model),
  lengthOf: (layer, surroundings, codes) => lengthIn(isPackable(surroundings), layer, surroundings, codes),
};

/** Bytes in blocks, or as integers for DequantizeLinear. */
export function lengthIn(
  blocks: boolean,
  layer: Layer,
  { model }: Surroundings,
  codes: PlannedCodes,
): number {
  if (!blocks) return dequantizeLinearLength(model, layer, codes);
  return packedLength(codes, storedLike(layer, false).scales === 'F16' ? 2 : 4);
}

/** Whether onnxruntime's operators take over all that use a weight. To turn a product round, the rank of its other side must have been seen. */
export function isPackable({ alike, hasData }: Surroundings): boolean {
  // Each of very many may be asked about all of them.
  const known = packable[Number(hasData)]!;
  let found = known.get(alike);
  if (found === undefined) {
    found = alike.every((layer) => fitsMatMulNBits(layer) && (!turns(layer) || (hasData && isSeen(layer))));
    known.set(alike, found);
  }
  return found;
}

/** Without data and with, by those that are alike. */
const packable = [new WeakMap<readonly Layer[], boolean>(), new WeakMap<readonly Layer[], boolean>()];

function turns({ input, kind }: Layer): boolean {
  return input?.rows.kind === 'axis' && input.rows.axis === -2 && kind !== 'Gemm';
}
