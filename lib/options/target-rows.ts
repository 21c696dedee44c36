import type { CheckpointOptions } from '../checkpoints/types';
import * as kinds from './kinds';
import type { Options } from './kinds';

// Options that say how large an output, or how large a change, may become.

const maxChange = 1e30;

export const target = {
  targetSize: {
    kind: kinds.fileSize,
    help: 'as 20MB or 2.4GB: widths layer by layer so that the files of weights take no more, with the least change of the outputs (needs --calibration, or --sensitivity)',
    group: 'Alphabet',
  },
  targetBits: {
    kind: kinds.between(1, 16),
    help: 'likewise, mean bits of a quantized weight, with all that goes with it',
    group: 'Alphabet',
  },
  targetError: {
    kind: kinds.between(0, maxChange),
    help: 'the other way round: the smallest output whose estimated change is no more, in nats of KL divergence where outputs are logits (0.05), else the mean squared error of a row',
    group: 'Alphabet',
  },
  sensitivity: {
    kind: kinds.pathOrObject(
      'the path of what "vertexq sensitivity" has written, or a Sensitivity',
      '<file.json>',
    ),
    help: 'with a target: what widths do, from "vertexq sensitivity" (default: it is measured first)',
    group: 'Alphabet',
  },
} satisfies Options<Pick<CheckpointOptions, 'targetSize' | 'targetBits' | 'targetError' | 'sensitivity'>>;
