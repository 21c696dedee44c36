import type { Weighted } from '../../traversal/needs';
import type { Weighting } from '../types';

/** What counts for more or less by an option. */
export const weightedBy = (weighting: Weighting = 'none'): Weighted => ({
  rows: weighting === 'outputs' || weighting === 'both',
  channels: weighting === 'channels' || weighting === 'both',
});
