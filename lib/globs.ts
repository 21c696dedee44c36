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
export const escaped = (name: string): string => name.replace(/[\\*?[\](){}!@+|,"]|^\./g, '\\$&');

/** The one name that a glob matches, such as `escaped` makes; undefined where it is a pattern. */
export function exactName(pattern: string): string | undefined {
  const text = pattern.replace(/^\.\//, '');
  // Of what stands unescaped: the rest means itself wherever none of these opens something.
  if (/^!|^(?:[^\\]|\\[^])*?[*?[({"]/.test(text)) return undefined;
  const name = text.replace(/\\([^])/g, '$1');
  return name === '' ? undefined : name;
}

/** Whether a name matches one of some globs; a star also matches slashes and dots. Of globs that are names there may be very many. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  const exact = new Set<string>();
  const matchers: ((name: string) => boolean)[] = [];
  for (const pattern of patterns) {
    const name = exactName(pattern);
    if (name === undefined) matchers.push(patternMatcher(pattern));
    else exact.add(name);
  }
  return (name) => exact.has(name) || matchers.some((matches) => matches(name));
}

/** Finds names by globs: by one that is a name, without a look at the others. */
export class NamesByGlob {
  private byForm: Map<string, string[]> | undefined;

  /** `formsOf`: all that a name may be called. */
  constructor(
    readonly names: readonly string[],
    private readonly formsOf: (name: string) => readonly string[] = (name) => [name],
  ) {}

  /** The names that a glob matches in one of their forms, in order. */
  *matching(glob: string): Generator<string> {
    const exact = exactName(glob);
    if (exact !== undefined) {
      yield* this.lists().get(exact) ?? [];
      return;
    }
    const matches = patternMatcher(glob);
    for (const name of this.names) if (this.formsOf(name).some(matches)) yield name;
  }

  has(glob: string): boolean {
    return this.matching(glob).next().done !== true;
  }

  private lists(): Map<string, string[]> {
    if (this.byForm) return this.byForm;
    const lists = new Map<string, string[]>();
    for (const name of this.names)
      for (const form of this.formsOf(name)) {
        const list = lists.get(form);
        if (list) list.push(name);
        else lists.set(form, [name]);
      }
    return (this.byForm = lists);
  }
}
