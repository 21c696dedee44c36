import { traitsOf } from '../methods';
import type { Method } from '../types';
import type { Sensitivity } from './types';

/** Bits of a weight, with its scales, in the width in which it is tried what error correction leaves of layers' changes. */
const triedBits = 4.5;

/** Which of a layer's widths is the nearest to that. */
export function widthToTry(widths: readonly { bytes: number }[], weights: number): number {
  const off = widths.map(({ bytes }) => Math.abs((8 * bytes) / weights - triedBits));
  return off.indexOf(Math.min(...off));
}

/** Whether a run with such options corrects errors; `vertex` does, which is the default. */
export const corrects = (options: { method?: Method; errorCorrection?: boolean }): boolean =>
  options.errorCorrection !== false &&
  (options.method === undefined || traitsOf(options.method).correctsErrors);

/** What widths do in a run that corrects errors. */
export const whereCorrected = (sensitivity: Sensitivity): Sensitivity => ({
  ...sensitivity,
  layers: sensitivity.layers.map(({ left = 1, ...layer }) => ({
    ...layer,
    widths: layer.widths.map((width) => ({ ...width, change: left * width.change })),
  })),
});
