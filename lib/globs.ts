import { patternMatcher } from './glob-patterns';
import { describe } from './options/messages';

/** Longer than any name that a pattern is for. */
const longestPattern = 1000;

/**
 * A glob, or several, as an option gives them. Throws a TypeError for anything else, a RangeError for one that is too long or does not
 * compile.
 */
export function requirePatterns(name: string, value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  if (!list.every((pattern): pattern is string => typeof pattern === 'string' && pattern !== ''))
    throw new TypeError(
      `Expected the "${name}" option to be a glob or an array of globs, not ${describe(value)}`,
    );
  for (const pattern of list) {
    if (pattern.length > longestPattern)
      throw new RangeError(
        `The pattern ${describe(pattern)} of the "${name}" option has ${pattern.length} characters: expected at most ${longestPattern}. ` +
          'Give several patterns',
      );
    try {
      patternMatcher(pattern);
    } catch (cause) {
      throw new RangeError(
        `The pattern ${describe(pattern)} of the "${name}" option is no glob: ${(cause as Error).message.slice(0, 200)}`,
        { cause },
      );
    }
  }
  return list;
}

/** A glob that matches this name alone. */
export const escaped = (name: string): string => name.replace(/[\\*?[\](){}!@+|,"]/g, '\\$&');

/** Whether a name matches one of some globs; a star also matches slashes and dots. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  const matchers = patterns.map(patternMatcher);
  return (name) => matchers.some((matches) => matches(name));
}
