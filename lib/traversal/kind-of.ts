import { calibrationKind } from '../methods';
import type { Stage } from './forward';
import type { FitLayer } from './layer';

/** What the fit of a layer keeps of the data. */
export function kindOf(
  { settings, errorCorrection, input, routed = false }: FitLayer,
  { changes }: Pick<Stage<FitLayer>, 'changes'>,
) {
  return calibrationKind(
    settings.method,
    errorCorrection && changes && !routed,
    input!.rows.kind === 'patches',
  );
}
