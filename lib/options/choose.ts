import type { Option } from './kinds';

/** Options by name, but for some. */
export function without<All extends Record<string, Option>, Name extends keyof All>(
  all: All,
  ...names: Name[]
): Omit<All, Name> {
  return Object.fromEntries(Object.entries(all).filter(([name]) => !names.includes(name as Name))) as Omit<
    All,
    Name
  >;
}

/** Some options by name. */
export function only<All extends Record<string, Option>, Name extends keyof All>(
  all: All,
  ...names: Name[]
): Pick<All, Name> {
  return Object.fromEntries(names.map((name) => [name, all[name]])) as Pick<All, Name>;
}
