import type { CheckpointEncoding } from '../safetensors/encoding';
import type { Part, WeightLayout } from '../safetensors/layout';
import type { Shape } from '../encoding';
import { anyMix, type Mix, type MixName, mixes } from './mixes';
import { bytesOf, type GgufType } from './table';

/** A mix as a format of checkpoints: what each weight becomes is for its type to say (`blockLayout`). */
const encodingOf = (mix: Mix): CheckpointEncoding => ({
  mix,
  isPlain: false,
  holdsTransposed: false,
  groupSize: 'channel',
  gridFor: () => 'full-range',
  check: () => undefined,
  unfit: () => undefined,
  layout: () => {
    throw new TypeError('What a weight becomes in a GGUF file is for its block type to say');
  },
  config: () => null,
  configFile: null,
  warnings: () => [],
  found: null,
});

/** A row a mix, and one for types that follow from a file's size. */
export const ggufEncodings = Object.fromEntries([
  ['gguf', encodingOf(anyMix)],
  ...Object.entries(mixes).map(([name, mix]) => [`gguf:${name}`, encodingOf(mix)] as const),
]) as Record<'gguf' | `gguf:${MixName}`, CheckpointEncoding>;

/** The one tensor that a weight of a block type is: rows of whole blocks. */
export function blockLayout(block: GgufType, shape: Shape): WeightLayout {
  const byteLength = bytesOf(block, shape);
  // Where it lies is for the layout of GGUF files to say.
  const codes: Part = { suffix: null, dtype: block.name, shape, byteLength, rank: 0, told: '' };
  const { stored } = block.settings;
  const packing = { order: 'neuron-major', outType: 'F16', zeroShift: 0 } as const;
  return {
    block,
    packing,
    stored,
    codes,
    scales: null,
    zeroPoints: null,
    constants: [],
    parts: [codes],
    byteLength,
  };
}
