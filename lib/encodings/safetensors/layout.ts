import { byteLengthOf } from '../../formats/safetensors/dtypes';
import type { TensorSpec } from '../../formats/safetensors/layout';
import type { StoredTypes } from '../../layers/quantize-weights';
import type { NativePacking } from '../../native/binding';

/** The tensors that a weight becomes. */
export interface WeightLayout {
  /** How the addon packs it. */
  packing: NativePacking;
  /** What scales and values are rounded to. */
  stored: StoredTypes;
  codes: TensorSpec;
  scales: TensorSpec | null;
  zeroPoints: TensorSpec | null;
  /** Tensors that are known beforehand. */
  constants: { spec: TensorSpec; data: Uint8Array }[];
}

/** Bytes that some tensors take. */
export const bytesOf = (specs: readonly (TensorSpec | null)[]): number =>
  specs.reduce((sum, spec) => sum + (spec ? byteLengthOf(spec.dtype, spec.shape)! : 0), 0);

export function specsOf({ codes, scales, zeroPoints, constants }: WeightLayout): TensorSpec[] {
  return [codes, scales, zeroPoints, ...constants.map(({ spec }) => spec)].filter((spec) => spec !== null);
}

/** 32-bit words that hold `count` codes. */
export const words = (count: number, bits: number): number => Math.ceil((count * bits) / 32);

/** Whether some of a weight's rows are written by themselves: each part is neuron by neuron. */
export const isByRows = ({ packing }: WeightLayout): boolean => packing.order !== 'input-major';

/** A weight's part of some rows: its bytes among all of the part's. */
export interface RowPart {
  name: string;
  begin: number;
  length: number;
}

/**
 * The parts of the rows [begin, end) of a weight with so many, codes first, then scales, then zero points, where they are there. `begin` is
 * a multiple of 32: there codes that are packed along the neurons begin at a word.
 */
export function partsOfRows(
  layout: WeightLayout,
  outFeatures: number,
  begin: number,
  end: number,
): RowPart[] {
  const specs = [layout.codes, layout.scales, layout.zeroPoints].filter((spec) => spec !== null);
  return specs.map((spec) => {
    const [lines] = spec.shape as [number];
    const lineBytes = bytesOf([spec]) / lines;
    // Of packed neurons there are fewer lines than rows, the last of them perhaps not full.
    const at = (row: number) => Math.floor((row * lines) / outFeatures) * lineBytes;
    const [from, to] = isByRows(layout) ? [at(begin), at(end)] : [0, lines * lineBytes];
    return { name: spec.name, begin: from, length: to - from };
  });
}
