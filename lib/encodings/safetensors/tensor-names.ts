import { matcher } from '../../globs';

const suffix = '.weight';

/** A weight's name without `.weight`: the module's. */
export function moduleOf(name: string): string {
  return name.endsWith(suffix) ? name.slice(0, -suffix.length) : name;
}

export const isWeightName = (name: string): boolean => name.endsWith(suffix);

/** The path of what a name is in, with its dot, and the last part. */
export function splitName(name: string): [parent: string, own: string] {
  const at = name.lastIndexOf('.') + 1;
  return [name.slice(0, at), name.slice(at)];
}

/** What globs may call a tensor: by its name, or its module's. */
export const formsOf = (name: string): string[] => (isWeightName(name) ? [name, moduleOf(name)] : [name]);

/** Whether a glob matches a tensor's name, or its module's. */
export function eitherName(patterns: readonly string[]): (name: string) => boolean {
  const matches = matcher(patterns);
  return (name) => matches(name) || matches(moduleOf(name));
}
