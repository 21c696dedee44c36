import { checkpointFormats, namesOf } from '../../lib/encodings/names';
import { checkpointEncodings } from '../../lib/encodings/safetensors/table';

/** Formats that write checkpoints, not a network or a GGUF file. */
export const formatsOfCheckpoints = namesOf(checkpointFormats).filter(
  (format) => !checkpointEncodings[format].network && !checkpointEncodings[format].mix,
);
