import { VertexqError } from '../../errors';
import { packBlocks } from '../../native/tensors';
import type { AlphabetKind } from '../../options';
import { refuseUneven } from '../encoding';
import { type Codes, integerForm, type PlannedCodes, type Width, widthFor } from './integer-codes';

/** A weight as com.microsoft.MatMulNBits holds it: W[k, n] = (q − zeroPoint)·scale. */
export interface PackedWeight {
  bits: Width;
  blockSize: number;
  blocks: number;
  /** [outFeatures, blocks, blockSize·bits/8]: element i of a block at bit i·bits, lowest first. */
  codes: Uint8Array;
  /** [outFeatures, blocks]. */
  scales: Float32Array;
  /** [outFeatures, ⌈blocks·bits/8⌉], packed likewise; null where all are 2^(bits−1). */
  zeroPoints: Uint8Array | null;
}

/** Widths of MatMulNBits and GatherBlockQuantized. */
const containers = [2, 4, 8] as const;
const blockSizes = [16, 32, 64, 128, 256] as const;

/**
 * Whether groups of this size can be written: throws a RangeError unless the size is a multiple of the smallest block, or takes
 * in all inputs.
 */
export function checkGroupSize(groupSize: number | 'channel'): void {
  if (groupSize !== 'channel' && groupSize % blockSizes[0] !== 0)
    throw new RangeError(
      `The format "matmulnbits" needs a "groupSize" that is a multiple of 16, or "channel", not ${groupSize}: ` +
        'choose one, or the format "float"',
    );
}

/** Throws a RangeError unless codes of this alphabet can be written. */
export function checkAlphabet(format: string, { grid, levels }: Pick<AlphabetKind, 'grid' | 'levels'>): void {
  refuseUneven(format, { grid });
  if (grid === 'zero-free' && widthFor(levels, true, containers) === undefined)
    throw new RangeError(
      `The format "${format}" cannot hold a "zero-free" grid of ${levels} levels: use the grid "asymmetric", or the format "float"`,
    );
}

/**
 * Packs a layer. Rejects with ERR_VERTEXQ_FORMAT for 256 zero-free levels, which no container holds, and for groups that no block divides;
 * with the signal's reason.
 */
export async function packMatMulNBits(layer: Codes, signal?: AbortSignal): Promise<PackedWeight> {
  const { inFeatures } = layer;
  const { bits, doubled, zeroPoints: zeros } = integerForm(layer, containers);
  // Codes of an asymmetric grid begin at −2^(its own bits − 1).
  const offset = 2 ** (zeros === null ? bits - 1 : Math.ceil(Math.log2(layer.levels)) - 1);
  const blockSize = blockSizeFor(layer, bits);
  const blocks = Math.ceil(inFeatures / blockSize);
  const to = { blockSize, bits, offset, doubled, hasZeroPoints: zeros !== null };
  return { bits, blockSize, blocks, ...(await packBlocks({ ...layer, zeroPoints: zeros }, to, signal)) };
}

/** Bytes of a layer that is packed so, with scales of `scaleBytes` each, unless all of its zero points come to be 0 and are left out. */
export function packedLength(
  { outFeatures, inFeatures, groupSize, grid, levels }: PlannedCodes,
  scaleBytes: number,
): number {
  const bits = containerOf({ levels, grid });
  const blockSize = blockSizeFor({ inFeatures, groupSize }, bits);
  const blocks = Math.ceil(inFeatures / blockSize);
  const zeroPoints = grid === 'asymmetric' ? Math.ceil((blocks * bits) / 8) : 0;
  return outFeatures * (blocks * ((blockSize * bits) / 8 + scaleBytes) + zeroPoints);
}

/** Block sizes whose blocks lie within one group each. */
const possibleSizes = ({ inFeatures, groupSize }: Pick<Codes, 'inFeatures' | 'groupSize'>) =>
  blockSizes.filter((size) => groupSize >= inFeatures || groupSize % size === 0);

/** Whether groups of this size fall into blocks. */
export const isBlockable = (layer: Pick<Codes, 'inFeatures' | 'groupSize'>): boolean =>
  possibleSizes(layer).length > 0;

/** The bits of an element in blocks. */
export const containerOf = ({ levels, grid }: Pick<AlphabetKind, 'levels' | 'grid'>): Width =>
  widthFor(levels, grid === 'zero-free', containers)!;

/** The block size that takes the fewest bytes among those whose blocks lie within one group each; of equals the largest. */
function blockSizeFor(layer: Pick<Codes, 'inFeatures' | 'groupSize'>, bits: number): number {
  const { inFeatures, groupSize } = layer;
  const possible = possibleSizes(layer);
  if (possible.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `Groups of ${groupSize} inputs do not fall into blocks of ${blockSizes.join(', ')}: use a "groupSize" that is a multiple of 16, or "channel"`,
    );
  const bytes = (size: number) => Math.ceil(inFeatures / size) * ((size * bits) / 8 + 4 + bits / 8);
  return possible.reduce((best, size) => (bytes(size) <= bytes(best) ? size : best));
}
