import { type BlockType, blockTypes } from '../../containers/gguf/block-types';
import type { LayerSettings } from '../../fit/layer-settings';
import type { GgufTypeName } from '../names';
import type { Shape } from '../encoding';

// The block types of GGUF files that weights become, a row each: what they hold, and how the fits are told. How their bits lie is known to
// the addon (native/core/packing/ggml_types.h); lib/encodings/gguf/blocks.ts packs and unpacks them.

/** What a fit is told of a block type. */
export type BlockSettings = Required<
  Pick<LayerSettings, 'grid' | 'levels' | 'bits' | 'table' | 'groupSize' | 'blockType' | 'stored'>
>;

/** A type of ggml's that weights are quantized to. */
export interface GgufType extends BlockType {
  name: GgufTypeName;
  /** ggml's number for it. */
  id: number;
  /** Bits of a weight, scales included. */
  bitsPerWeight: number;
  settings: BlockSettings;
  /** What a weight becomes whose rows are no whole blocks: a type of shorter ones, wider; null where there is none. */
  fallback: GgufTypeName | null;
}

const levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

const fullRange = (bits: number) => ({ grid: 'full-range', bits, levels: 2 ** bits, table: null }) as const;
const minimum = (bits: number) => ({ grid: 'float-minimum', bits, levels: 2 ** bits, table: null }) as const;
const table = () => ({ grid: 'table', bits: 4, levels: 16, table: Float32Array.from(levels) }) as const;

/** Grid, weights that share a scale, what takes over. */
const rows = {
  Q4_0: [fullRange(4), 32, null],
  Q4_1: [minimum(4), 32, null],
  Q5_0: [fullRange(5), 32, null],
  Q5_1: [minimum(5), 32, null],
  Q8_0: [fullRange(8), 32, null],
  Q2_K: [minimum(2), 16, 'IQ4_NL'],
  Q3_K: [fullRange(3), 16, 'IQ4_NL'],
  Q4_K: [minimum(4), 32, 'Q5_0'],
  Q5_K: [minimum(5), 32, 'Q5_1'],
  Q6_K: [fullRange(6), 16, 'Q8_0'],
  IQ4_NL: [table(), 32, null],
  IQ4_XS: [table(), 32, 'IQ4_NL'],
} as const satisfies Record<GgufTypeName, unknown>;

/** By name. */
export const ggufTypes: Readonly<Record<GgufTypeName, GgufType>> = Object.fromEntries(
  [...blockTypes].flatMap(([id, block]) => {
    if (!Object.hasOwn(rows, block.name)) return [];
    const name = block.name as GgufTypeName;
    const [alphabet, groupSize, fallback] = rows[name];
    const settings = { ...alphabet, groupSize, blockType: name, stored: { scales: 'F16', values: null } };
    return [
      [name, { ...block, name, id, bitsPerWeight: (8 * block.bytes) / block.weights, settings, fallback }],
    ];
  }),
) as Record<GgufTypeName, GgufType>;

/** Bytes of a weight of a shape that the type holds. */
export const bytesOf = ({ weights, bytes }: BlockType, [outFeatures, inFeatures]: Shape): number =>
  (outFeatures * inFeatures * bytes) / weights;

/** Why the type cannot hold a weight of this shape; undefined where it can. */
export function unfit({ name, weights }: GgufType, [, inFeatures]: Shape): string | undefined {
  if (inFeatures % weights === 0) return undefined;
  return `its ${inFeatures} inputs are no whole blocks of ${weights}, of which ${name} consists`;
}

/** The type itself, or the one that takes over for a weight of this shape; undefined where none holds it. */
export function heldBy(type: GgufType, shape: Shape): GgufType | undefined {
  if (unfit(type, shape) === undefined) return type;
  return type.fallback === null ? undefined : heldBy(ggufTypes[type.fallback], shape);
}
