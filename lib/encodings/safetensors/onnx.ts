import { matmulnbits } from '../onnx/matmulnbits';
import { checkAlphabet, isBlockable, packedLength } from '../onnx/packed-blocks';
import type { CheckpointEncoding } from './encoding';
import { layoutOfParts, part } from './layout';

/** No checkpoint: the language model's own network, with blocks of few bits. What is laid out here are the bytes that a weight takes in it. */
export const onnx: CheckpointEncoding = {
  isPlain: false,
  holdsTransposed: true,
  network: matmulnbits,
  groupSize: matmulnbits.groupSize,
  gridFor: (levels) => matmulnbits.gridFor(levels),
  check: (scheme) => checkAlphabet('onnx', scheme),
  unfit: ([, inFeatures], { groupSize }) =>
    isBlockable({ inFeatures, groupSize })
      ? undefined
      : `groups of ${groupSize} inputs are no blocks: "groupSize" should be a multiple of 16, or "channel"`,
  layout([outFeatures, inFeatures], _, scheme) {
    const bytes = packedLength({ ...scheme, outFeatures, inFeatures }, Float32Array.BYTES_PER_ELEMENT);
    return layoutOfParts({
      packing: { order: 'input-major', outType: 'F32', zeroShift: 0 },
      stored: { scales: 'F32', values: null },
      codes: part('.weight_blocks', 'U8', [bytes]),
      ...{ scales: null, zeroPoints: null, constants: [] },
    });
  },
  config: () => null,
  configFile: null,
  warnings: () => [],
  found: null,
};
