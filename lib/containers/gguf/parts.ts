import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

// Files in parts, as llama.cpp has them: `<stem>-00001-of-00003.gguf` and so on. The first has all keys, each says which it is.

/** More would be no model. */
export const mostParts = 9999;
const partName = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/;

const digits = (value: number) => String(value).padStart(5, '0');

/** What a part is called, `number` from 0. */
export const partNameOf = (stem: string, number: number, count: number): string =>
  `${stem}-${digits(number + 1)}-of-${digits(count)}.gguf`;

/** The stem, and the number of parts that a name tells of; undefined where it is none of a part. */
export function partOf(path: string): { stem: string; count: number } | undefined {
  const [, stem, , count] = partName.exec(basename(path)) ?? [];
  return stem === undefined ? undefined : { stem, count: Number(count) };
}

/** What parts of a file are called after: its name without the end, or that of a part without what it says of parts. */
export const stemOf = (path: string): string => partOf(path)?.stem ?? basename(path).replace(/\.gguf$/i, '');

/** The paths of all parts of a file beside which they lie. */
export const partPaths = (path: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => join(dirname(path), partNameOf(stemOf(path), i, count)));

/** The parts of a file, of whatever number, that are there already. */
export async function partsThere(path: string): Promise<string[]> {
  const names = await readdir(dirname(path)).catch(() => []);
  const stem = stemOf(path);
  return names.filter((name) => partOf(name)?.stem === stem).map((name) => join(dirname(path), name));
}
