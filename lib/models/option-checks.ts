import { describe } from '../options';

/** Throws a TypeError unless an option is true, false or not given. */
export function flag(name: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new TypeError(`Expected the "${name}" option to be true or false, not ${describe(value)}`);
}

/** The globs of an option. Throws a TypeError where it has others. */
export function patterns(name: string, value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? [...(value as unknown[])] : [value];
  if (!list.every((pattern): pattern is string => typeof pattern === 'string' && pattern !== ''))
    throw new TypeError(
      `Expected the "${name}" option to be a glob or an array of globs, not ${describe(value)}`,
    );
  return list;
}

/** Runs `check`; a TypeError or RangeError that it throws says where the argument was. */
export function inPlace<Result>(where: string, check: () => Result): Result {
  try {
    return check();
  } catch (error) {
    if (error instanceof TypeError) throw new TypeError(`${where}: ${error.message}`, { cause: error });
    if (error instanceof RangeError) throw new RangeError(`${where}: ${error.message}`, { cause: error });
    throw error;
  }
}
