import { moduleOf } from './tensor-names';
import { byteLengthOf } from '../../containers/safetensors/dtypes';
import { rankOf, type TensorKind, toldOf } from '../../containers/safetensors/layout';
import type { StoredTypes } from '../../fit/layer-settings';
import type { NativePacking } from '../../native/binding';
import type { GgufType } from '../gguf/table';

/** One of the tensors that a weight becomes. */
export interface Part extends TensorKind {
  /** What follows the module's name; null where the tensor is called as the weight is. */
  suffix: string | null;
  dtype: string;
  shape: readonly number[];
  byteLength: number;
}

/** The tensors that a weight becomes: the same of all weights of one shape, dtype and scheme. */
export interface WeightLayout {
  /** How the addon packs it. */
  packing: NativePacking;
  /** Where it becomes blocks of a GGUF file, their type, which says all. */
  block?: GgufType;
  /** What scales and values are rounded to. */
  stored: StoredTypes;
  codes: Part;
  scales: Part | null;
  zeroPoints: Part | null;
  /** Tensors that are known beforehand. */
  constants: readonly { part: Part; data: () => Uint8Array }[];
  /** All of them in this order. */
  parts: readonly Part[];
  /** Bytes of all of them. */
  byteLength: number;
}

export const part = (suffix: string | null, dtype: string, shape: readonly number[]): Part =>
  new PartOf(suffix, dtype, shape);

/** There may be as many as weights: what is said of it in a header is made when it is written. */
class PartOf implements Part {
  readonly byteLength: number;

  constructor(
    readonly suffix: string | null,
    readonly dtype: string,
    readonly shape: readonly number[],
  ) {
    this.byteLength = byteLengthOf(dtype, shape)!;
  }

  get rank() {
    return rankOf(this.dtype);
  }

  get told() {
    return toldOf(this.dtype, this.shape);
  }
}

export function layoutOfParts(given: Omit<WeightLayout, 'parts' | 'byteLength'>): WeightLayout {
  const { codes, scales, zeroPoints, constants } = given;
  const parts: Part[] = [codes];
  if (scales) parts.push(scales);
  if (zeroPoints) parts.push(zeroPoints);
  for (const constant of constants) parts.push(constant.part);
  let byteLength = 0;
  for (const one of parts) byteLength += one.byteLength;
  return { ...given, parts, byteLength };
}

/** What a part of a weight is called. */
export const partName = (weight: string, { suffix }: Part): string =>
  suffix === null ? weight : moduleOf(weight) + suffix;

/** 32-bit words that hold `count` codes. */
export const words = (count: number, bits: number): number => Math.ceil((count * bits) / 32);

/** Whether some of a weight's rows are written by themselves: each part is neuron by neuron. */
export const isByRows = ({ packing }: WeightLayout): boolean => packing.order !== 'input-major';

/** Some rows' bytes among all of a part's. */
export interface PartRange {
  begin: number;
  length: number;
}

/**
 * What the rows [begin, end) of a weight with so many fill of each part; constants belong to the first rows. `begin` is a multiple of 32:
 * there codes that are packed along the neurons begin at a word.
 */
export function rangesOfRows(
  layout: WeightLayout,
  outFeatures: number,
  begin: number,
  end: number,
): PartRange[] {
  const computed = layout.parts.length - layout.constants.length;
  return layout.parts.map(({ shape, byteLength }, i) => {
    if (!isByRows(layout)) return { begin: 0, length: byteLength };
    if (i >= computed) return { begin: 0, length: begin === 0 ? byteLength : 0 };
    const [lines] = shape as [number];
    // Of packed neurons there are fewer lines than rows, the last of them perhaps not full.
    const at = (row: number) => Math.floor((row * lines) / outFeatures) * (byteLength / lines);
    return { begin: at(begin), length: at(end) - at(begin) };
  });
}
