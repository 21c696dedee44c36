import { calibrationKind } from '../methods';
import type { Stage } from './forward';
import type { FitLayer } from './layer';

/** What the fit of a layer keeps of the data. */
export function kindOf(
  { settings, errorCorrection, input, routed }: FitLayer,
  { changes, ofAll }: Pick<Stage<FitLayer>, 'changes' | 'ofAll'>,
) {
  return calibrationKind(
    settings.method,
    errorCorrection && changes && (!routed || ofAll === true),
    input!.rows.kind === 'patches',
  );
}
