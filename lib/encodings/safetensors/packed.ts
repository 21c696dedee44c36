import type { Turns } from '../../yielding';
import { isWeightName, moduleOf } from './tensor-names';
import { refuseUneven, type Scheme, type Shape } from '../encoding';
import type { ConfiguredWeight } from './encoding';

// What the encodings that pack codes into words have in common.

/** Throws a RangeError at a grid without a level 0, whose zero points are no whole numbers, and at uneven ones. */
export function refuseZeroFree(format: string, { grid }: Pick<Scheme, 'grid'>): void {
  refuseUneven(format, { grid });
  if (grid === 'zero-free')
    throw new RangeError(
      `The format "${format}" cannot hold a "zero-free" grid: use the grid "asymmetric" or "integer" with 2 bits or more, or the format "float"`,
    );
}

/** Why a weight's inputs do not fall into groups; undefined where they do. */
export function unevenGroups([, inFeatures]: Shape, { groupSize }: Scheme): string | undefined {
  if (inFeatures % groupSize === 0) return undefined;
  return `its ${inFeatures} inputs are no whole groups of ${groupSize}: "overrides" can give it others`;
}

/** Names of a regular expression's characters are only themselves. */
export const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** The modules in which nothing is quantized, of those that hold weights of their own: readers may ask for what is in them. */
export async function leftWhole(weights: readonly ConfiguredWeight[], turns: Turns): Promise<Set<string>> {
  const whole = new Set(weights.filter(([name]) => !isWeightName(name)).map(([name]) => name));
  for (const [name, scheme] of weights) {
    if (whole.size === 0) break;
    if (turns.due) await turns.next();
    if (!scheme) continue;
    const parts = moduleOf(name).split('.');
    for (let i = 1; i < parts.length; i++) whole.delete(parts.slice(0, i).join('.'));
  }
  return whole;
}
