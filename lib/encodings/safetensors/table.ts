import { ggufEncodings } from '../gguf/encoding';
import type { CheckpointFormat } from '../names';
import { compressedTensors } from './compressed-tensors';
import type { CheckpointEncoding, FoundWeights } from './encoding';
import { float } from './float';
import { gptq, gptqV2 } from './gptq';
import { onnx } from './onnx';

/** The encodings of checkpoints, a row each. */
export const checkpointEncodings: Readonly<Record<CheckpointFormat, CheckpointEncoding>> = {
  'compressed-tensors': compressedTensors,
  gptq,
  gptq_v2: gptqV2,
  float,
  onnx,
  ...ggufEncodings,
};

/** How weights that are quantized already are found: once for versions of one encoding. */
export const foundWeights = (): readonly FoundWeights[] => {
  const all = Object.values(checkpointEncodings).map(({ found }) => found);
  return [...new Set(all)].filter((found) => found !== null);
};
