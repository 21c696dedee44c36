import { mostPasses } from '../methods';
import type { LayerReport } from '../types';
import { plural } from './units';

/** What a layer takes before its first pass, in passes: gptq and the walk (docs/quality.md). */
const before = 8;

/** How many passes vertex made, and what more would take and gain; empty where no layer could have more. */
export function passesLine(layers: readonly LayerReport[]): string {
  const own = layers.filter(({ passes }) => passes !== null && passes < mostPasses);
  if (own.length === 0) return '';
  const counts = own.map(({ passes }) => passes!).sort((a, b) => a - b);
  const [least, most] = [counts[0]!, counts.at(-1)!];
  const made = least === most ? plural(most, 'more answer') : `${least} to ${plural(most, 'more answer')}`;
  const taken = own.reduce((sum, { seconds }) => sum + seconds, 0);
  const longer = own.reduce(
    (sum, { seconds, passes }) => sum + (seconds * (before + mostPasses)) / (before + passes!),
    0,
  );
  const times = taken > 0 ? `take about ${Math.round(longer / taken)} times as long` : 'take longer';
  return `vertex made ${made} for each layer after the walk; --effort ${mostPasses} would ${times}, for errors lower by some per cent`;
}
