import { types } from 'node:util';
import { closest, distance } from 'fastest-levenshtein';

// What is said of options that are wrong, and of which options it is said.

/** Throws a TypeError at an option that does not exist, with the nearest one that does. */
export function requireKnown(options: object, known: readonly string[], what = 'option'): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new TypeError(
      `Expected the ${what.replace(/y$/, 'ie')}s to be an object, not ${describe(options)}`,
    );
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    const nearest = closest(name, [...known]);
    const hint =
      distance(name, nearest) <= Math.max(2, name.length / 3) ? `: did you mean "${nearest}"?` : '';
    throw new TypeError(`Unknown ${what} "${name}"${hint}`);
  }
}

export function requireOneOf<Choice extends string>(
  name: string,
  value: unknown,
  choices: readonly Choice[],
): Choice {
  if (choices.includes(value as Choice)) return value as Choice;
  const list = choices.map((choice) => `"${choice}"`).join(', ');
  const given = typeof value === 'string' ? value.toLowerCase() : '';
  const lower = choices.map((choice) => choice.toLowerCase());
  const nearest = closest(given, lower);
  // Short names are near to each other: "awq" is no slip for "msq", and "mqs" is one.
  const most = Math.min(given.length / 2, Math.max(2, given.length / 3));
  const hint =
    given !== '' && (distance(given, nearest) <= most || sorted(given) === sorted(nearest))
      ? `: did you mean "${choices[lower.indexOf(nearest)]}"?`
      : '';
  throw new RangeError(`Expected the "${name}" option to be one of ${list}, not ${describe(value)}${hint}`);
}

const sorted = (letters: string) => [...letters].sort().join('');

export function requireInteger(
  name: string,
  value: unknown,
  least: number,
  most: number,
  what = 'option',
): number {
  if (typeof value !== 'number')
    throw new TypeError(`Expected the "${name}" ${what} to be a number, not ${describe(value)}`);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Infinity ? `${least} or more` : `from ${least} to ${most}`;
  throw new RangeError(
    `Expected the "${name}" ${what} to be a whole number ${range}, not ${describe(value)}`,
  );
}

/** Paths that calls take, as messages have them. */
export const [networkPath, checkpointPath] = [
  'the path of an ONNX file',
  'the path of a safetensors file, a folder of them, or a GGUF file',
];

/** Throws a TypeError at an argument that is no path. */
export function requirePath(what: string, path: unknown, expected: string): void {
  if (typeof path !== 'string' || path === '')
    throw new TypeError(`Expected the ${what} to be ${expected}, not ${describe(path)}`);
}

const TypedArray = Object.getPrototypeOf(Uint8Array) as new () => object;

/** How a value looks in a message: short whatever it is. */
export function describe(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null)
    return typeof value === 'function' ? 'a function' : String(value);
  // What looks like an array of numbers, and holds none.
  if (types.isProxy(value)) return 'a Proxy';
  if (Array.isArray(value)) return 'an array';
  const name = value.constructor?.name ?? 'object without a prototype';
  return value instanceof TypedArray && !ArrayBuffer.isView(value)
    ? `an object that only inherits from ${name}`
    : `a ${name}`;
}

/** A TypeError or RangeError about options: `paths` are those that it is about, such as `overrides[1].bits`. */
export interface OptionError extends Error {
  /** The options that it is about, such as `overrides[1].bits`. */
  paths?: readonly string[];
}

/** The options that an error is about; none where it does not say. */
export const pathsOf = (error: unknown): readonly string[] => (error as OptionError).paths ?? [];

const isOptionError = (error: unknown): error is OptionError =>
  error instanceof TypeError || error instanceof RangeError;

/** Runs `check`; a TypeError or RangeError that it throws says which options it is about, unless it does so already. */
export function about<Result>(paths: readonly string[], check: () => Result): Result {
  try {
    return check();
  } catch (error) {
    if (isOptionError(error)) error.paths ??= paths;
    throw error;
  }
}

/** Throws a RangeError about options. */
export const refuse = (paths: readonly string[], message: string): never =>
  about(paths, () => {
    throw new RangeError(message);
  });

/** Runs `check`; a TypeError or RangeError that it throws says where the argument was. `within`: that this is where its options are. */
export function inPlace<Result>(where: string, check: () => Result, { within = false } = {}): Result {
  try {
    return check();
  } catch (cause) {
    if (!isOptionError(cause)) throw cause;
    const Kind = cause instanceof TypeError ? TypeError : RangeError;
    const error: OptionError = new Kind(`${where}: ${cause.message}`, { cause });
    const paths = pathsOf(cause);
    error.paths = !within ? paths : paths.length === 0 ? [where] : paths.map((path) => `${where}.${path}`);
    throw error;
  }
}
