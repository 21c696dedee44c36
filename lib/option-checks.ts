import { describe } from './options';

/** Throws a TypeError unless an option is true, false or not given. */
export function flag(name: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new TypeError(`Expected the "${name}" option to be true or false, not ${describe(value)}`);
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
