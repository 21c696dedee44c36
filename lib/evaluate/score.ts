import type { Feeds } from '../models/types';
import { describe } from '../options/messages';
import type { ModelOutputs, Score } from './types';

/** What a caller's score says. Throws a TypeError where that is no number, and what the score throws. */
export async function scoreOf(
  score: Score,
  outputs: readonly ModelOutputs[],
  feeds: readonly Feeds[],
): Promise<number> {
  const value: unknown = await score(outputs, feeds);
  if (typeof value !== 'number')
    throw new TypeError(`Expected the "score" option to return a number, not ${describe(value)}`);
  return value;
}
