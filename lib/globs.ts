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
      matcherOf(pattern);
    } catch (cause) {
      throw new RangeError(
        `The pattern ${describe(pattern)} of the "${name}" option is no glob: ${(cause as Error).message.slice(0, 200)}`,
        { cause },
      );
    }
  }
  return list;
}

/** Whether a name matches one of some globs; a star also matches slashes and dots. */
export function matcher(patterns: readonly string[]): (name: string) => boolean {
  const matchers = patterns.map(matcherOf);
  return (name) => matchers.some((matches) => matches(name));
}

function matcherOf(pattern: string): (name: string) => boolean {
  const alternatives = alternativesOf(pattern)?.map(partsOf);
  if (alternatives?.every((parts) => parts !== null))
    return (name) => alternatives.some((parts) => matchesParts(parts, name));
  return patternMatcher(pattern);
}

// Names come from files: a regular expression with k stars takes time with the k-th power of a long one's length. So what stars,
// question marks, classes and plain braces make is matched here, in time linear in the name's length for each part of the pattern.

const star = Symbol('star');
type Part = string | typeof star | RegExp;
const anyButSlash = /[^/]/;
const maxAlternatives = 256;

/** The globs that a glob with braces stands for; null where they nest or are too many, or a plus makes repetitions. */
function alternativesOf(pattern: string): string[] | null {
  let found = [''];
  if (/[\]}*]\+/.test(pattern)) return null;
  for (let at = 0; at < pattern.length;) {
    const open = pattern.indexOf('{', at);
    const plain = pattern.slice(at, open < 0 ? pattern.length : open);
    found = found.map((text) => text + plain);
    if (open < 0) break;
    const close = pattern.indexOf('}', open);
    const inner = pattern.slice(open + 1, close);
    if (close < 0 || /[{\\]|\.\./.test(inner) || !inner.includes(',')) return null;
    const choices = inner.split(',');
    if (found.length * choices.length > maxAlternatives) return null;
    found = found.flatMap((text) => choices.map((choice) => text + choice));
    at = close + 1;
  }
  return found;
}

/** The parts of a glob; null where it has more: escapes, negation, groups, folders by `**\/`. */
function partsOf(pattern: string): Part[] | null {
  if (/^!|^\.\/|[\\"(){}]|\*\*\/|\/\*\*/.test(pattern)) return null;
  const parts: Part[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at]!;
    if (character === ']') return null;
    if (character === '*') {
      if (parts.at(-1) !== star) parts.push(star);
    } else if (character === '?') parts.push(anyButSlash);
    else if (character !== '[') parts.push(character);
    else {
      const close = pattern.indexOf(']', at + 2);
      const inner = pattern.slice(at + 1, close);
      if (close < 0 || inner.includes('[')) return null;
      try {
        parts.push(new RegExp(`^[${inner}]$`));
      } catch {
        return null;
      }
      at = close;
    }
  }
  return parts;
}

/** Only the last star ever takes more: what earlier ones left is as good as any. */
function matchesParts(parts: readonly Part[], name: string): boolean {
  if (name === '') return false;
  let part = 0;
  let lastStar = -1;
  let from = 0;
  for (let at = 0; at < name.length;) {
    const wanted = parts[part];
    if (wanted === star) {
      lastStar = part++;
      from = at;
    } else if (wanted !== undefined && fits(wanted, name[at]!)) {
      at++;
      part++;
    } else if (lastStar < 0) return false;
    else {
      part = lastStar + 1;
      at = ++from;
    }
  }
  while (parts[part] === star) part++;
  return part === parts.length;
}

function fits(part: Exclude<Part, typeof star>, character: string): boolean {
  return typeof part === 'string' ? part === character : part.test(character);
}
