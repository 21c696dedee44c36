import { isObject } from '../realms';

/** Where two values of JSON differ, and what stands there: text of JSON, undefined where there is nothing. */
export interface Difference {
  where: string;
  before: string | undefined;
  now: string | undefined;
}

/** The first difference of two values of JSON, member by member; undefined where there is none. `where`: what the whole is called. */
export function firstDifference(before: unknown, now: unknown, where: string): Difference | undefined {
  if (isObject(before) && isObject(now)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const found = firstDifference(before[key], now[key], where === '' ? key : `${where}.${key}`);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  const [a, b] = [JSON.stringify(before), JSON.stringify(now)];
  return a === b ? undefined : { where, before: a, now: b };
}
