import { requireMemory } from '../memory';
import { plainMethod, traitsOf } from '../methods';
import type { RowsKind } from '../native/binding';
import type { Method } from '../types';

/** What the memory of a layer's fit depends on. */
export interface LayerNeeds {
  name: string;
  outFeatures: number;
  inFeatures: number;
  /** Groups with data of their own (of a convolution). */
  groups?: number;
  method: Method;
  kind: RowsKind;
  /** Rows that are known to come; of `rows`, few need little. */
  rows: number;
  holdoutRows: number;
  /** What is kept of held-out rows besides, for the report. */
  reportKind?: RowsKind | null;
  /** What is kept of the data at the same time for other methods. */
  others?: readonly RowsKind[];
  /** Whether output channels make up for each other. */
  hasOutputs?: boolean;
}

/** Of the sums alone: for every group, and for held-out rows. */
const sums: Record<RowsKind, number> = { rows: 16, gram: 4, pairs: 16 };

/** The matrices that errors against the float network are told of, once the fit is over: three, and a copy of one. */
const reportOfPairs = 32;

/** Of the outputs' Gram matrix as it is given, damped, in order and factored; of errors, targets and weights of blocks. */
const outputs = { matrices: 32, errors: 12 };

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
    reportKind = null,
    others = [],
    hasOutputs = false,
  } = needs;
  // R has no more rows than there are, and a Gram matrix always N.
  const numbers = (count: number, of = kind) => n * (of === 'rows' ? Math.min(n, count) : n);
  const keeps = (count: number, of: RowsKind) => (count > 0 ? groups * numbers(count, of) * sums[of] : 0);
  const held = keeps(holdoutRows, kind) + (reportKind ? keeps(holdoutRows, reportKind) : 0);
  const besides = others.reduce((sum, of) => sum + keeps(rows, of) + keeps(holdoutRows, of), 0);
  const report = holdoutRows > 0 && reportKind === 'pairs' ? reportOfPairs * n * n : 0;
  return (
    Math.max(traitsOf(method).memory[kind] * numbers(rows), report) +
    (groups - 1) * numbers(rows) * sums[kind] +
    held +
    besides +
    (hasOutputs ? outputs.matrices * outFeatures ** 2 + outputs.errors * outFeatures * n : 0) +
    9 * outFeatures * n
  );
}

/** A layer as errors about memory call it. */
export const ofSize = (
  name: string,
  { outFeatures, inFeatures }: Pick<LayerNeeds, 'outFeatures' | 'inFeatures'>,
) => `${name} (${outFeatures} × ${inFeatures})`;

/** Throws ERR_VERTEXQ_MEMORY, before any work, where a layer's fit has no room. */
export function requireLayerMemory(needs: LayerNeeds): void {
  const { name, method, kind, others = [] } = needs;
  const layer = ofSize(name, needs);
  if (others.length > 0) {
    const what = `${layer}: the method "${method}", with what others keep of the data,`;
    requireMemory(layerMemory(needs), what, 'Compare fewer methods at once.');
    return;
  }
  requireMemory(
    layerMemory(needs),
    `${layer}: the method "${method}"`,
    kind === 'rows'
      ? `Give fewer calibration rows, or round it without data (the method "${plainMethod}").`
      : `What it keeps of the data grows with the square of the inputs: take the method "${plainMethod}" for such a layer, or leave it out.`,
  );
}
