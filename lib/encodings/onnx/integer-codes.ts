import { VertexqError } from '../../errors';
import type { AnyGrid, QuantizedLayer } from '../../types';

/** Widths of integer types that file formats have. */
export type Width = 2 | 4 | 8;

/** What of a quantized layer makes its values. */
export type Codes = Pick<
  QuantizedLayer,
  'codes' | 'scales' | 'zeroPoints' | 'levels' | 'groupSize' | 'outFeatures' | 'inFeatures'
>;

/** A layer that is yet to be quantized. */
export interface PlannedCodes extends Pick<Codes, 'levels' | 'groupSize' | 'outFeatures' | 'inFeatures'> {
  grid: AnyGrid;
}

/** A layer's codes as signed integers: weight = (integer − zero point)·scale. */
export interface IntegerForm {
  /** The narrowest of the allowed widths that holds the integers. */
  bits: Width;
  /** Whether the integers are 2·code + 1, else the codes. */
  doubled: boolean;
  /** [outFeatures, groups]. */
  scales: Float32Array;
  /** [outFeatures, groups], whole numbers of `bits` bits; null where the grid has none. */
  zeroPoints: Float32Array | null;
}

/** The narrowest of `widths` (in ascending order) for an alphabet; undefined where none holds it. */
export function widthFor(levels: number, zeroFree: boolean, widths: readonly Width[]): Width | undefined {
  return widths.find((width) => (zeroFree ? 2 : 1) * levels <= 2 ** width);
}

/** Throws ERR_VERTEXQ_FORMAT where no width holds the integers: at the 256 levels of a zero-free grid. */
export function integerForm(layer: Codes, widths: readonly Width[]): IntegerForm {
  const { levels, scales, zeroPoints } = layer;
  const zeroFree = zeroPoints !== null && !Number.isInteger(zeroPoints[0]);
  const bits = widthFor(levels, zeroFree, widths);
  if (bits === undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `Integers of ${widths.at(-1)} bits cannot hold a "zero-free" grid of ${levels} levels: use the grid "asymmetric"`,
    );
  if (!zeroFree) return { bits, doubled: false, scales, zeroPoints };
  // (code + ½)·s = (2·code + 1)·(s/2): a zero-free alphabet is every other level of an integer one.
  return {
    bits,
    doubled: true,
    scales: scales.map((scale) => scale / 2),
    zeroPoints: null,
  };
}
