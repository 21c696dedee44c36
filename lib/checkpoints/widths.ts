import { ggufTypes, unfit } from '../encodings/gguf/table';
import type { GgufTypeName } from '../encodings/names';
import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import type { LayerSettings } from '../fit/layer-settings';
import type { Width } from '../sensitivity/types';
import type { CheckpointSettings } from './checkpoint-options';
import { weightSettings } from './checkpoint-options';
import type { PlannedWeight } from './planned-weight';
import { blockLayout } from '../encodings/gguf/encoding';

/** What a weight could be stored in. */
export interface PossibleWidth {
  width: Width;
  settings: LayerSettings;
  bytes: number;
}

/** Widths that are tried, of those that a format has. */
const bits = [2, 3, 4, 5, 6, 8];
/** Of types of as many bits a weight, the one that keeps weights best (docs/gguf-types.md). */
const superBlocks: readonly GgufTypeName[] = ['Q2_K', 'Q3_K', 'IQ4_XS', 'Q4_K', 'Q5_K', 'Q6_K', 'Q8_0'];
const smallBlocks: readonly GgufTypeName[] = ['IQ4_NL', 'Q4_1', 'Q5_0', 'Q5_1', 'Q8_0'];

/**
 * The widths that a format holds a weight in, each in fewer bytes than the wider ones, in the order of their bytes. `settings`: with the method by which
 * they are tried.
 */
export function widthsOf(weight: PlannedWeight, settings: CheckpointSettings): PossibleWidth[] {
  const all = settings.encoding.mix ? ofBlocks(weight) : ofBits(weight, settings);
  return all
    .sort((a, b) => a.bytes - b.bytes || (b.settings.bits ?? 0) - (a.settings.bits ?? 0))
    .filter(({ bytes }, i, sorted) => i === 0 || bytes > sorted[i - 1]!.bytes);
}

function ofBlocks({ shape, settings }: PlannedWeight): PossibleWidth[] {
  const types = unfit(ggufTypes.Q4_K, shape) === undefined ? superBlocks : smallBlocks;
  return types.flatMap((blockType) => {
    const type = ggufTypes[blockType];
    if (unfit(type, shape) !== undefined) return [];
    const own = { ...settings, ...type.settings };
    return [{ width: { blockType }, settings: own, bytes: blockLayout(type, shape).byteLength }];
  });
}

function ofBits(
  { shape, dtype, settings: planned }: PlannedWeight,
  settings: CheckpointSettings,
): PossibleWidth[] {
  const { encoding, options } = settings;
  // What overrides give it.
  const groupSize = planned.groupSize === shape[1] ? 'channel' : planned.groupSize;
  return bits.flatMap((width) => {
    const own = settingsHeld({ encoding, options: { ...options, bits: width, groupSize } }, shape[1]);
    if (!own || encoding.unfit(shape, own) !== undefined) return [];
    const layout = encoding.layout(shape, dtype, own);
    const tried = { ...planned, ...own, stored: layout.stored };
    return [{ width: { bits: width }, settings: tried, bytes: layout.byteLength }];
  });
}

/** The settings of a width; undefined where the format does not have it. */
function settingsHeld(
  settings: { encoding: CheckpointEncoding; options: CheckpointSettings['options'] },
  inFeatures: number,
): LayerSettings | undefined {
  try {
    return weightSettings(settings, [], inFeatures, true);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
