import { fewOf, namesBy } from '../reports/text';
import type { Scheme } from './encoding';
import { warn, type Warning } from '../warning-codes';

/** A weight whose codes could have more bits in the same bytes. */
export interface Widenable {
  name: string;
  bits: number;
  most: number;
}

/** The most bits, up to 8, that take no more bytes than those of a scheme do; its own where no more are free, or its levels are of another kind. */
export function mostBits(scheme: Scheme, bytesOf: (scheme: Scheme) => number | undefined): number {
  const { bits, levels } = scheme;
  const missing = 2 ** bits - levels;
  const own = missing > 1 || scheme.table ? undefined : bytesOf(scheme);
  let most = bits;
  for (let more = bits + 1; own !== undefined && more <= 8; more++) {
    const bytes = bytesOf({ ...scheme, bits: more, levels: 2 ** more - missing });
    // Still more bits take still more.
    if (bytes !== undefined && bytes > own) break;
    if (bytes !== undefined) most = more;
  }
  return most;
}

/** What is said of weights that could have more bits for nothing: a line for each pair of widths. */
export function widerWarnings(format: string, weights: readonly Widenable[]): Warning[] {
  const lists = namesBy(
    weights
      .filter(({ bits, most }) => most > bits)
      .map(({ name, bits, most }) => [
        name,
        `${bits} bits take as many bytes as ${most} in the format "${format}", and are further from the float weights: give "bits" ${most}`,
      ]),
  );
  return [...lists].map(([what, names]) => warn('WARN_VERTEXQ_WIDER_BITS', `${what} (${fewOf(names, 2)})`));
}
