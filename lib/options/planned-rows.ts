import type { CheckpointOptions } from '../checkpoints/types';
import type { PlannedRunOptions, ShardOptions } from '../checkpoints/sharded/types';
import type { JobOptions } from '../types';
import * as kinds from './kinds';
import type { Options } from './kinds';

// Options of work on the plan of a checkpoint.

/** Of a checkpoint: two pieces of work at a time, and what goes with them. */
const leastMemory = 128 * 2 ** 20;
export const checkpointMemory = kinds.bytes(leastMemory, Number.MAX_SAFE_INTEGER);

/** More make each too small to be worth a worker. */
const mostParts = 64;

export const inParts = {
  parts: {
    kind: kinds.integer(1, mostParts),
    help: `language models fitted to text: into how many parts the text and each layer's neurons are cut, for as many workers ("vertexq plan"); the bytes depend on how many (default: 1)`,
    group: 'Checkpoints (.safetensors)',
  },
} satisfies Options<Pick<CheckpointOptions, 'parts'>>;

export const planned = {
  input: {
    kind: kinds.path('the path of the checkpoint', '<path>'),
    help: 'where this machine has the input (default: where the plan has it)',
    group: 'Running',
  },
  output: {
    kind: kinds.path('the path of the output', '<path>'),
    help: 'where this machine has the output, under the name that the plan has (default: where the plan has it)',
    group: 'Running',
  },
  memory: { kind: checkpointMemory, help: 'as 768M or 2G: buffers (default: 768M)', group: 'Other' },
  otherKernels: {
    kind: kinds.flag,
    help: 'go on although the plan is for another kind of processor; the bytes may then be those of neither',
    group: 'Other',
  },
} satisfies Options<Omit<PlannedRunOptions, keyof JobOptions>>;

const within = { index: { kind: kinds.integer(0) }, count: { kind: kinds.integer(1) } };
export const ofShard = {
  shard: { kind: kinds.object(within, 'shard option') },
  drain: { kind: kinds.abortSignal },
} satisfies Options<Omit<ShardOptions, keyof PlannedRunOptions>>;
