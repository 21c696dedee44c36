import { requirePatterns } from '../globs';
import { isAbortSignal } from '../realms';
import { about, describe, inPlace, requireInteger, requireKnown, requireOneOf } from './messages';

/** What values an option takes: what is said of it, how it is checked, and how it is written on a command line. */
export interface Kind {
  /** In a few words, for documents. */
  what: string;
  /** Throws a TypeError or RangeError at a value that is none of these. */
  check: (name: string, value: unknown) => void;
  /** The flag's argument, as help shows it; null for a flag that stands alone. Without it there is no flag. */
  argument?: string | null;
  /** What a flag's text means. Throws a RangeError where it means nothing. `before`: what the same flag gave before. */
  parse?: (text: string, before?: unknown) => unknown;
  choices?: readonly string[];
  /** The value with its paths resolved; throws a TypeError where it holds none and ought to. Only of options that are paths. */
  resolved?: (name: string, value: unknown, resolve: (path: string) => string) => unknown;
  /** What the library takes for what the flag gave. */
  fromFlag?: (value: unknown) => unknown;
  /** Of each item of a list of objects: the options in it. */
  items?: Readonly<Record<string, Option>>;
  /** Of an object: the options in it. */
  within?: Readonly<Record<string, Option>>;
}

/** A row for each property of a type. */
export type Options<Of> = Record<keyof Of, Option>;

/** One option of a call. */
export interface Option {
  kind: Kind;
  /** What it does, for help. Without it there is no flag of its own. */
  help?: string;
  /** The heading that help has it under. */
  group?: Group;
  /** Instead of the kind's. */
  argument?: string;
  /** A flag `--no-…` besides, and what it does. */
  negated?: string;
  required?: boolean;
}

/** The headings of help, in their order. */
export const groups = [
  '',
  'Data',
  'Alphabet',
  'Method',
  'Layers',
  'Queue',
  'Running',
  'Output',
  'Checkpoints (.safetensors)',
  'Other',
] as const;
export type Group = (typeof groups)[number];

export const numeral = /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i;
const wholeNumeral = /^-?\d+$/;

/** Throws a RangeError where a flag's text means nothing. */
export function parsed(fits: boolean, expected: string, value: unknown): unknown {
  if (!fits) throw new RangeError(`Expected ${expected}.`);
  return value;
}

/** Words between commas. */
export const listOf = (text: string) => text.split(',').map((word) => word.trim());

const from = (least: number, most: number) =>
  most >= Number.MAX_SAFE_INTEGER ? `${least} or more` : `${least} to ${most}`;

export const integer = (least: number, most = Infinity): Kind => ({
  what: `a whole number, ${from(least, most)}`,
  check: (name, value) => void requireInteger(name, value, least, most),
  argument: '<n>',
  parse: (text) => parsed(wholeNumeral.test(text), 'a whole number', Number(text)),
});

const units: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** Powers of 1024, as they are typed: `128M`. */
const typed = (count: number) => {
  const power = count > 0 ? Math.min(3, Math.floor(Math.log2(count) / 10)) : 0;
  return `${Number((count / 1024 ** power).toPrecision(3))}${['', 'K', 'M', 'G'][power]}`;
};

/** On a command line with k, M or G for powers of 1024. */
export const bytes = (least: number, most = Infinity): Kind => ({
  ...integer(least, most),
  ...(least > 0 && { what: `bytes, ${typed(least)} (${least}) or more` }),
  check: (name, value) => {
    if (typeof value === 'number' && value >= 0 && value < least)
      throw new RangeError(
        `Expected the "${name}" option to be ${typed(least)} (${least} bytes) or more, not ${typed(value)} (${value})`,
      );
    requireInteger(name, value, least, most);
  },
  argument: '<bytes>',
  parse: (text) => {
    const found = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text);
    parsed(found !== null, 'bytes, such as 768M or 2G', null);
    return Math.round(Number(found![1]) * units[found![2]!.toLowerCase()]!);
  },
});

const decimalUnits: Record<string, number> = { '': 1, k: 1e3, m: 1e6, g: 1e9, t: 1e12 };

/** Bytes of files, on a command line in the units that they are shown in: MB is 10^6 bytes, MiB 2^20. */
export const fileSize: Kind = {
  ...integer(1),
  argument: '<size>',
  parse: (text) => {
    const [, count, unit, binary] = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?$/i.exec(text) ?? [];
    parsed(count !== undefined && (binary === '' || unit !== ''), 'a size, such as 20MB or 2.4GB', null);
    const power = decimalUnits[unit!.toLowerCase()]!;
    return Math.floor(Number(count) * (binary === '' ? power : 1024 ** (Math.log10(power) / 3)));
  },
};

/** Throws a TypeError unless a value is a number, or one word. */
function requireNumberOr(name: string, value: unknown, word: string): void {
  if (typeof value !== 'number')
    throw new TypeError(`Expected the "${name}" option to be a number or "${word}", not ${describe(value)}`);
}

export const integerOr = (word: string, least: number, most = Infinity): Kind => ({
  what: `a whole number, ${from(least, most)}, or "${word}"`,
  check: (name, value) => {
    if (value === word) return;
    requireNumberOr(name, value, word);
    requireInteger(name, value, least, most);
  },
  argument: `<n|${word}>`,
  parse: (text) =>
    parsed(
      text === word || wholeNumeral.test(text),
      `a whole number, or "${word}"`,
      text === word ? text : Number(text),
    ),
});

/** A number of things, or a part of them all. */
export const countOrPart: Kind = {
  what: 'a whole number, a fraction below 1, or "auto"',
  check: (name, value) => {
    if (value === 'auto') return;
    requireNumberOr(name, value, 'auto');
    const number = value as number;
    if (!(number > 0 && number < 1) && (!Number.isInteger(number) || number < 0))
      throw new RangeError(
        `Expected the "${name}" option to be a whole number, or a fraction between 0 and 1, not ${describe(value)}`,
      );
  },
  argument: '<n|fraction|auto>',
  parse: (text) =>
    parsed(
      text === 'auto' || numeral.test(text),
      'a whole number, a fraction below 1, or "auto"',
      text === 'auto' ? text : Number(text),
    ),
};

/** `expected`: how the range is told. */
const number = (fits: (value: number) => boolean, expected: string, plain = 'a number'): Kind => ({
  what: expected,
  check: (name, value) => {
    if (typeof value !== 'number')
      throw new TypeError(`Expected the "${name}" option to be ${plain}, not ${describe(value)}`);
    if (!fits(value))
      throw new RangeError(`Expected the "${name}" option to be ${expected}, not ${describe(value)}`);
  },
  argument: '<x>',
  parse: (text) => parsed(numeral.test(text), 'a number', Number(text)),
});

const longest = 365 * 24 * 3600;
const inSeconds: Record<string, number> = { s: 1, m: 60, h: 3600, d: 24 * 3600 };

/** Seconds; on a command line with s, m, h or d, several behind each other. */
export const duration: Kind = {
  ...number((value) => value > 0 && value <= longest, 'seconds, above 0'),
  argument: '<time>',
  parse: (text) => {
    const isPlain = numeral.test(text);
    parsed(isPlain || /^(\d+(\.\d+)?[smhd])+$/i.test(text), 'a time, such as 90s, 30m or 1h30m', null);
    if (isPlain) return Number(text);
    const parts = [...text.matchAll(/([\d.]+)([smhd])/gi)];
    return parts.reduce((sum, [, count, unit]) => sum + Number(count) * inSeconds[unit!.toLowerCase()]!, 0);
  },
};

export const between = (least: number, most: number): Kind =>
  number((value) => value >= least && value <= most, `a number from ${least} to ${most}`);

export const fraction: Kind = number((value) => value >= 0 && value < 1, 'a fraction from 0 and below 1');

export const positive = (what: string): Kind => {
  const expected = `a number above 0, ${what}`;
  return number((value) => value > 0 && value < Infinity, expected, expected);
};

export const choice = (choices: readonly string[]): Kind => choiceOf(() => choices);

/** Likewise, of words that a table has when it is asked. */
export const choiceOf = (choices: () => readonly string[]): Kind => ({
  get what() {
    return choices()
      .map((word) => `"${word}"`)
      .join(', ');
  },
  check: (name, value) => void requireOneOf(name, value, choices()),
  argument: '<name>',
  get choices() {
    return choices();
  },
});

/** Codes of levels are counted from 0, and kept as signed bytes. */
export const mostOfTable = 128;

/** A word, or levels of one's own. */
export const choiceOrLevels = (choices: readonly string[]): Kind => ({
  ...choice(choices),
  what: `${choice(choices).what}, or an array of levels: 2 to ${mostOfTable} numbers, rising, on both sides of 0`,
  check: (name, value) => {
    if (!Array.isArray(value)) {
      requireOneOf(name, value, choices);
      return;
    }
    const expected = `Expected the "${name}" option, where it is an array, to have`;
    if (value.length < 2 || value.length > mostOfTable)
      throw new RangeError(`${expected} 2 to ${mostOfTable} levels, not ${value.length}`);
    for (const [i, level] of value.entries()) {
      if (typeof level !== 'number')
        throw new TypeError(`${expected} numbers, not ${describe(level)} as level ${i}`);
      if (!Number.isFinite(Math.fround(level)))
        throw new RangeError(`${expected} finite float32 numbers, not ${describe(level)} as level ${i}`);
      if (i > 0 && !(Math.fround(level) > Math.fround(value[i - 1] as number)))
        throw new RangeError(
          `${expected} rising numbers: level ${i}, ${level}, is not above the one before it, ${value[i - 1]}, as float32 numbers`,
        );
    }
    if (!(Math.fround(value[0] as number) < 0 && Math.fround(value.at(-1) as number) > 0))
      throw new RangeError(
        `${expected} levels on both sides of 0, not from ${value[0]} to ${value.at(-1)}: weights of either sign have to be within reach`,
      );
  },
});

export const flag: Kind = {
  what: 'true or false',
  check: (name, value) => {
    if (typeof value !== 'boolean')
      throw new TypeError(`Expected the "${name}" option to be true or false, not ${describe(value)}`);
  },
  argument: null,
};

export const callback: Kind = {
  what: 'a function',
  check: (name, value) => {
    if (typeof value !== 'function')
      throw new TypeError(`Expected the "${name}" option to be a function, not ${describe(value)}`);
  },
};

export const abortSignal: Kind = {
  what: 'an AbortSignal',
  check: (name, value) => {
    if (!isAbortSignal(value))
      throw new TypeError(`Expected the "${name}" option to be an AbortSignal, not ${describe(value)}`);
  },
};

/** A text that is not empty. */
export const text = (what: string, argument: string): Kind => ({
  what,
  check: (name, value) => {
    if (typeof value !== 'string' || value === '')
      throw new TypeError(`Expected the "${name}" option to be ${what}, not ${describe(value)}`);
  },
  argument,
});

export const path = (what: string, argument: string): Kind => ({
  ...text(what, argument),
  resolved: (_name, value, resolve) => (typeof value === 'string' ? resolve(value) : value),
});

/** Likewise, or what such a file holds, which is checked where it is used. */
export const pathOrObject = (what: string, argument: string): Kind => ({
  ...path(what, argument),
  check: (name, value) => {
    if (typeof value !== 'object' || value === null) path(what, argument).check(name, value);
  },
});

/** `empty`: what to say where there are none; without it there may be none. */
export const globs = (empty?: string): Kind => ({
  what: 'a glob or an array of globs',
  check: (name, value) => {
    if (requirePatterns(name, value).length === 0 && empty !== undefined)
      throw new RangeError(`The "${name}" option is empty: ${empty}`);
  },
  argument: '<glob...>',
});

/** Words, of which some set knows more than this. */
export const words = (what: string): Kind => ({
  what: `an array of ${what}`,
  check: (name, value) => {
    if (!Array.isArray(value) || value.length === 0)
      throw new TypeError(
        `Expected the "${name}" option to be an array of ${what}, not ${Array.isArray(value) ? 'an empty one' : describe(value)}`,
      );
  },
  argument: '<names>',
  parse: (text) => parsed(!listOf(text).includes(''), 'words with commas between them', listOf(text)),
});

/** Several of a kind, each once. `expected`: how a flag's list is called. */
export const several = (kind: Kind, expected: string, isPart: (word: string) => boolean): Kind => ({
  what: `an array, each ${kind.what}`,
  check: (name, value) => {
    if (!Array.isArray(value))
      throw new TypeError(`Expected the "${name}" option to be an array, not ${describe(value)}`);
    if (value.length === 0)
      throw new RangeError(`The "${name}" option is empty: there is nothing to compare`);
    const twice: unknown = value.find((item, i) => value.indexOf(item) < i);
    if (twice !== undefined)
      throw new RangeError(`The "${name}" option has ${describe(twice)} twice: each is tried once`);
    for (const item of value) kind.check(name, item);
  },
  argument: '<list>',
  parse: (text) => {
    parsed(listOf(text).every(isPart), `${expected} with commas between them`, null);
    return listOf(text).map((word) => kind.parse?.(word) ?? word);
  },
});

export const isWord = (word: string) => word !== '';
export const isWholeNumeral = (word: string) => wholeNumeral.test(word);

/** An object of options. */
export const object = (within: Readonly<Record<string, Option>>, what: string): Kind => ({
  what: `an object: ${Object.keys(within).join(', ')}`,
  check: (name, value) => {
    requireKnown(value as object, Object.keys(within), what);
    for (const [own, given] of Object.entries(value as object))
      if (given !== undefined)
        about([`${name}.${own}`], () => within[own]!.kind.check(`${name}.${own}`, given));
  },
  within,
});

/** What is different for some layers. What a group of options means together is checked elsewhere (lib/overrides.ts). */
export const overrides = (within: Readonly<Record<string, Option>>): Kind => ({
  what: 'an array of objects, { layers, bits, … }',
  check: (name, value) => {
    if (!Array.isArray(value))
      throw new TypeError(
        `Expected the "${name}" option to be an array of objects, { layers, bits, … }, not ${describe(value)}`,
      );
    for (const [i, item] of value.entries())
      inPlace(`${name}[${i}]`, () => checkOverride(item, within), { within: true });
  },
  items: within,
});

function checkOverride(item: unknown, within: Readonly<Record<string, Option>>): void {
  const names = Object.keys(within);
  checkAll(item, within);
  const { layers, ...options } = item as Record<string, unknown>;
  if (layers === undefined)
    throw new TypeError('Expected "layers", a glob or an array of globs: the layers that it is about');
  if (Object.values(options).every((value) => value === undefined))
    throw new RangeError(
      `There is nothing but "layers": give one of ${names.filter((name) => name !== 'layers').join(', ')}`,
    );
}

/** Throws a TypeError or RangeError, with the option's path, at one that does not exist or takes no such value. */
export function checkAll(given: unknown, known: Readonly<Record<string, Option>>): void {
  requireKnown(given as object, Object.keys(known));
  checkGiven(given as object, known);
}

/** Likewise, of options among others. */
export function checkGiven(given: object, known: Readonly<Record<string, Option>>): void {
  for (const [name, { kind }] of Object.entries(known)) {
    const value = (given as Record<string, unknown>)[name];
    if (value !== undefined) about([name], () => kind.check(name, value));
  }
}
