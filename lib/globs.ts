import picomatch from 'picomatch';
import { describe } from './options';

/** A glob, or several, as an option gives them. Throws a TypeError for anything else. */
export function requirePatterns(name: string, value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  if (!list.every((pattern): pattern is string => typeof pattern === 'string' && pattern !== ''))
    throw new TypeError(
      `Expected the "${name}" option to be a glob or an array of globs, not ${describe(value)}`,
    );
  return list;
}

/** Whether a name matches one of some globs; a star also matches slashes and dots. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  return patterns.length === 0 ? () => false : picomatch([...patterns], { bash: true, dot: true });
}
