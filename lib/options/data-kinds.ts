import { type Kind, listOf, numeral, parsed } from './kinds';
import { describe, requireInteger } from './messages';

// Kinds of values that are about data: files, images, axes.

/** One number, or three, for channels. */
export const perChannel = (fits: (value: number) => boolean, what: string): Kind => ({
  what: `${what}, or three, one a channel`,
  check: (name, value) => {
    const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
    const odd = list.findIndex((item) => typeof item !== 'number' || !fits(item));
    if (odd < 0 && (list.length === 1 || list.length === 3)) return;
    const came =
      odd < 0
        ? `${list.length} numbers`
        : `${describe(list[odd])}${Array.isArray(value) ? ` at ${odd}` : ''}`;
    const type = odd >= 0 && typeof list[odd] !== 'number' ? TypeError : RangeError;
    throw new type(
      `Expected the "${name}" option to be ${what}, or three of them, one a channel in the order of "image.order", not ${came}`,
    );
  },
  argument: '<x,y,z>',
  parse: (text) =>
    parsed(
      listOf(text).every((word) => numeral.test(word)),
      'numbers with commas between them',
      listOf(text).map(Number),
    ),
});

/** A height and a width. */
export const size = (most: number): Kind => ({
  what: '[height, width] in pixels',
  check: (name, value) => {
    if (!Array.isArray(value) || value.length !== 2)
      throw new TypeError(
        `Expected the "${name}" option to be [height, width] in pixels, not ${describe(value)}`,
      );
    for (const side of value) requireInteger(name, side, 1, most);
  },
  argument: '<height>x<width>',
  parse: (text) => {
    const found = /^(\d+)(?:[x×,](\d+))?$/i.exec(text.trim());
    parsed(found !== null, 'a height and a width, such as 224x224', null);
    return [Number(found![1]), Number(found![2] ?? found![1])];
  },
});

/** Paths in an option as the library takes them: one or several. */
function resolvedPaths(
  name: string,
  value: unknown,
  resolve: (path: string) => string,
  orElse = '',
): unknown {
  if (typeof value === 'string') return resolve(value);
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === 'string'))
    return value.map(resolve);
  throw new TypeError(
    `Expected the "${name}" option to be the path of a file, or an array of such${orElse}, not ${describe(value)}`,
  );
}

/** Files of samples, or samples: they are checked where they are read. */
export const samples: Kind = {
  what: 'data: paths, or tensors by input',
  check: () => {},
  argument: '<file...>',
  resolved: resolvedPaths,
  fromFlag: (value) => ((value as unknown[]).length === 1 ? (value as unknown[])[0] : value),
};

/** Likewise, or a share of others. */
export const samplesOrFraction: Kind = {
  ...samples,
  what: 'a fraction from 0 and below 1, or data',
  argument: '<fraction|file>',
  parse: (text) =>
    parsed(text !== '', 'a fraction from 0 and below 1, or a file', numeral.test(text) ? Number(text) : text),
  resolved: (name, value, resolve) =>
    typeof value === 'number' ? value : resolvedPaths(name, value, resolve, ', or a fraction'),
  fromFlag: (value) => value,
};

/** One path or several. */
export const paths = (what: string): Kind => ({
  what: `${what}, or several`,
  check: (name, value) => {
    const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
    if (!list.every((item) => typeof item === 'string' && item !== '') || list.length === 0)
      throw new TypeError(`Expected the "${name}" option to be ${what}, or several, not ${describe(value)}`);
  },
  argument: '<file...>',
  resolved: resolvedPaths,
});

/** The name of a dimension, or an axis for each of several inputs; on a command line `input=axis`, which add up. */
export const axes: Kind = {
  what: 'the name of a dimension, or axes by input',
  check: (name, value) => {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (!isObject && (typeof value !== 'string' || value === ''))
      throw new TypeError(
        `Expected the "${name}" option to be the name of a dimension, or axes by input such as { x: 1, scale: null }, not ${describe(value)}`,
      );
    if (isObject)
      for (const [input, axis] of Object.entries(value))
        if (axis !== null) requireInteger(`${name}.${input}`, axis, 0, 63);
  },
  argument: '<name|input=axis>',
  parse: (text, before) => {
    // Names may have an "=" of their own.
    const [, input, axis] = /^(.+)=(\d+|none)$/s.exec(text) ?? [];
    parsed(
      before === undefined || (input !== undefined && typeof before !== 'string'),
      'one name of a dimension, or an axis for each of several inputs',
      null,
    );
    parsed(text !== '', 'the name of a dimension, or input=axis', null);
    if (input === undefined) return text;
    // Defined rather than assigned: an input may be called `__proto__`.
    const own = [...Object.entries(before ?? {}), [input, axis === 'none' ? null : Number(axis)]];
    return Object.fromEntries(own) as object;
  },
};
