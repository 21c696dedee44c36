import { VertexqError } from '../errors';
import type { Grid, QuantizedLayer } from '../types';

/** A weight as com.microsoft.MatMulNBits holds it: W[k, n] = (q − zeroPoint)·scale. */
export interface PackedWeight {
  bits: 2 | 4 | 8;
  blockSize: number;
  blocks: number;
  /** [outFeatures, blocks, blockSize·bits/8]: element i of a block at bit i·bits, lowest first. */
  codes: Uint8Array;
  /** [outFeatures, blocks]. */
  scales: Float32Array;
  /** [outFeatures, ⌈blocks·bits/8⌉], packed likewise; null where all are 2^(bits−1). */
  zeroPoints: Uint8Array | null;
}

const containers = [2, 4, 8] as const;
const blockSizes = [16, 32, 64, 128, 256] as const;

type Codes = Pick<
  QuantizedLayer,
  'codes' | 'scales' | 'zeroPoints' | 'levels' | 'groupSize' | 'outFeatures' | 'inFeatures'
>;

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
export function checkAlphabet({ grid, levels }: { grid: Grid; levels: number }): void {
  if (grid === 'zero-free' && containerOf(2 * levels) === undefined)
    throw new RangeError(
      `The format "matmulnbits" cannot hold a "zero-free" grid of ${levels} levels: use the grid "asymmetric", or the format "float"`,
    );
}

/** Packs a layer. Throws ERR_VERTEXQ_FORMAT for the 256 levels of a zero-free grid, which no container holds. */
export function packMatMulNBits(layer: Codes): PackedWeight {
  const { outFeatures, inFeatures } = layer;
  // (code + ½)·s = (2·code + 1)·(s/2): a zero-free alphabet is every other level of an integer one.
  const zeroFree = layer.zeroPoints !== null && !Number.isInteger(layer.zeroPoints[0]);
  const bits = containerFor(layer, zeroFree);
  const middle = 2 ** (bits - 1);
  const stored = Math.ceil(Math.log2(layer.levels));
  const shift = zeroFree || layer.zeroPoints === null ? middle : 2 ** (stored - 1);
  const toContainer = (code: number) => (zeroFree ? 2 * code + 1 : code) + shift;

  const blockSize = blockSizeFor(layer, bits);
  const blocks = Math.ceil(inFeatures / blockSize);
  const groups = Math.ceil(inFeatures / layer.groupSize);
  const blockBytes = (blockSize * bits) / 8;
  const zeroBytes = Math.ceil((blocks * bits) / 8);
  const codes = new Uint8Array(outFeatures * blocks * blockBytes);
  const scales = new Float32Array(outFeatures * blocks);
  const zeroPoints = layer.zeroPoints === null || zeroFree ? null : new Uint8Array(outFeatures * zeroBytes);

  for (let n = 0; n < outFeatures; n++)
    for (let b = 0; b < blocks; b++) {
      const group = n * groups + Math.floor((b * blockSize) / layer.groupSize);
      const zero = zeroPoints ? layer.zeroPoints![group]! + shift : middle;
      scales[n * blocks + b] = layer.scales[group]! / (zeroFree ? 2 : 1);
      if (zeroPoints) putBits(zeroPoints, n * zeroBytes, b * bits, zero);
      const start = (n * blocks + b) * blockBytes;
      for (let i = 0; i < blockSize; i++) {
        const k = b * blockSize + i;
        // What pads the last block stands for 0.
        putBits(
          codes,
          start,
          i * bits,
          k < inFeatures ? toContainer(layer.codes[n * inFeatures + k]!) : zero,
        );
      }
    }
  return { bits, blockSize, blocks, codes, scales, zeroPoints };
}

function putBits(target: Uint8Array, start: number, bit: number, value: number): void {
  target[start + (bit >> 3)]! |= value << (bit & 7);
}

function containerOf(levels: number): 2 | 4 | 8 | undefined {
  return containers.find((candidate) => levels <= 2 ** candidate);
}

function containerFor(layer: Codes, zeroFree: boolean): 2 | 4 | 8 {
  const bits = containerOf(zeroFree ? 2 * layer.levels : layer.levels);
  if (bits === undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `The format "matmulnbits" cannot hold a "zero-free" grid of ${layer.levels} levels: use the grid "asymmetric"`,
    );
  return bits;
}

/** The block size that takes the fewest bytes among those whose blocks lie within one group each; of equals the largest. */
function blockSizeFor(layer: Codes, bits: number): number {
  const { inFeatures, groupSize } = layer;
  const possible = blockSizes.filter((size) => groupSize >= inFeatures || groupSize % size === 0);
  const bytes = (size: number) => Math.ceil(inFeatures / size) * ((size * bits) / 8 + 4 + bits / 8);
  return possible.reduce((best, size) => (bytes(size) <= bytes(best) ? size : best));
}
