import type { AlphabetKind } from '../options';
import type { Grid } from '../types';

/** [outFeatures, inFeatures]. */
export type Shape = readonly [number, number];

/** How a weight becomes codes: what an encoding has to hold. */
export interface Scheme extends AlphabetKind {
  /** Inputs that share a scale. */
  groupSize: number;
}

/** Throws a RangeError, with a way out, at grids that are not integers times a scale, with an integer zero point or none. */
export function refuseUneven(format: string, { grid }: Pick<Scheme, 'grid'>): void {
  if (grid !== 'table' && grid !== 'float-minimum') return;
  const what = grid === 'table' ? 'levels of your own as a grid' : `a "${grid}" grid`;
  throw new RangeError(
    `The format "${format}" cannot hold ${what}: use the grid "asymmetric", "integer" or "full-range"`,
  );
}

/** What every encoding answers, in whatever container. */
export interface Encoding {
  /** Whether it keeps values on the grid in the weight's own tensor, type and layout: readers need to know nothing of it. */
  isPlain: boolean;
  /** The grid of so many levels, an even number above 2, where none is asked for. */
  gridFor(levels: number): Grid;
  /** Inputs that share a scale where nothing is asked for. */
  groupSize: number | 'channel';
  /** Throws a RangeError, with a way out, at alphabets and groups that it holds for no weight. */
  check(scheme: AlphabetKind & { groupSize: number | 'channel' }): void;
}
