import { rowsKind } from '../methods';
import type { RowsKind } from '../native/binding';
import type { Stage } from './forward';
import type { FitLayer } from './layer';

/** What the fit of a layer keeps of the data. `inParts`: whether workers hand it to each other. */
export function kindOf(
  { settings, errorCorrection, input, routed }: FitLayer,
  { changes, ofAll }: Pick<Stage<FitLayer>, 'changes' | 'ofAll'>,
  inParts = false,
): RowsKind {
  return rowsKind(
    settings.method,
    errorCorrection && changes && (!routed || ofAll === true),
    inParts || input!.rows.kind === 'patches',
  );
}

/**
 * What is kept of held-out rows besides, for the report: what the float network gives for them, where the fit does not ask for it; and of
 * weighted rows the same without weights. null where the fit's own say all.
 */
export function reportKindOf(
  layer: FitLayer,
  stage: Pick<Stage<FitLayer>, 'changes' | 'ofAll'>,
  isWeighted: boolean,
  inParts = false,
): RowsKind | null {
  const kind = kindOf(layer, stage, inParts);
  const arePairs = stage.changes && (!layer.routed || stage.ofAll === true);
  if (kind !== 'pairs' && arePairs) return 'pairs';
  return isWeighted ? kind : null;
}
