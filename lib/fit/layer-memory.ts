import { requireMemory } from '../memory';
import { plainMethod, traitsOf } from '../methods';
import type { CalibrationKind } from '../native/binding';
import type { Method } from '../types';

/** What the memory of a layer's fit depends on. */
export interface LayerNeeds {
  name: string;
  outFeatures: number;
  inFeatures: number;
  /** Groups with data of their own (of a convolution). */
  groups?: number;
  method: Method;
  kind: CalibrationKind;
  /** Rows that are known to come; of `rows`, few need little. */
  rows: number;
  holdoutRows: number;
  /** Whether rows have weights: what is held out is then kept without them too. */
  isWeighted?: boolean;
}

/** Of the sums alone: for every group, and for held-out rows. */
const sums: Record<CalibrationKind, number> = { rows: 16, gram: 4, pairs: 16 };

/** Bytes that quantizing a layer by its data takes beside the data and the weight themselves. */
export function layerMemory(needs: LayerNeeds): number {
  const {
    outFeatures,
    inFeatures: n,
    groups = 1,
    method,
    kind,
    rows,
    holdoutRows,
    isWeighted = false,
  } = needs;
  // R has no more rows than there are, and a Gram matrix always N.
  const numbers = (count: number) => n * (kind === 'rows' ? Math.min(n, count) : n);
  const held = holdoutRows > 0 ? (isWeighted ? 2 : 1) * groups * numbers(holdoutRows) * sums[kind] : 0;
  return (
    traitsOf(method).memory[kind] * numbers(rows) +
    (groups - 1) * numbers(rows) * sums[kind] +
    held +
    9 * outFeatures * n
  );
}

/** Throws ERR_VERTEXQ_MEMORY, before any work, where a layer's fit has no room. */
export function requireLayerMemory(needs: LayerNeeds): void {
  const { name, outFeatures, inFeatures, method, kind } = needs;
  requireMemory(
    layerMemory(needs),
    `${name} (${outFeatures} × ${inFeatures}): the method "${method}"`,
    kind === 'rows'
      ? `Give fewer calibration rows, or round it without data (the method "${plainMethod}").`
      : `What it keeps of the data grows with the square of the inputs: take the method "${plainMethod}" for such a layer, or leave it out.`,
  );
}
