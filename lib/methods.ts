import { methodTable } from './method-table';
import type { RowsKind } from './native/binding';
import type { Method } from './types';

/** What the addon's table says of a method. */
type Row = (typeof methodTable)[number];
export interface MethodTraits {
  name: Method;
  about: string;
  needsData: boolean;
  correctsErrors: boolean;
  followsClosely: boolean;
  certifies: boolean;
  compared: boolean;
  options: readonly MethodOption[];
  scales: readonly ('max' | 'search')[];
  memory: Readonly<Record<RowsKind, number>>;
}

/** An option that only some methods take. */
export type MethodOption = Row['options'][number];

/** The first is the default where there is data. */
export const methods: readonly MethodTraits[] = methodTable;
export const methodNames: readonly Method[] = methods.map(({ name }) => name);

/** The options that only some methods take. */
export const methodOptionNames: readonly MethodOption[] = [
  ...new Set(methods.flatMap(({ options }) => options)),
];

export function traitsOf(method: Method): MethodTraits {
  return methods.find(({ name }) => name === method)!;
}

/** The methods of which something holds. */
export const methodsThat = (holds: (traits: MethodTraits) => boolean): Method[] =>
  methods.filter(holds).map(({ name }) => name);

/** The method that does without data: what stands in for the others where there is none, or where they do worse. */
export const [plainMethod] = methodsThat(({ needsData }) => !needsData) as [Method];

export const defaultMethod = (hasData: boolean): Method => (hasData ? methodNames[0]! : plainMethod);

export const takes = (method: Method, option: MethodOption): boolean =>
  traitsOf(method).options.includes(option);

/** The methods that take an option. */
export const takersOf = (option: MethodOption): Method[] => methodsThat(({ name }) => takes(name, option));

/** Methods in a message: `the methods "a", "b" and "c"`. */
export function listMethods(list: readonly Method[]): string {
  const quoted = list.map((method) => `"${method}"`);
  return list.length === 1
    ? `the method ${quoted[0]}`
    : `the methods ${quoted.slice(0, -1).join(', ')} and ${quoted.at(-1)}`;
}

/**
 * What a method needs to know of the data. `corrects`: whether it aims at what the float layer gave. `sumsDo`: sums of products are kept
 * wherever the method can do with them, as of a convolution's rows, so many that folding them costs many times as much, and where workers hand them to each other.
 */
export function rowsKind(method: Method, corrects: boolean, sumsDo = false): RowsKind {
  const { correctsErrors, memory } = traitsOf(method);
  if (correctsErrors && corrects) return 'pairs';
  return memory.rows > 0 && !(sumsDo && memory.gram > 0) ? 'rows' : 'gram';
}

/** Passes of `vertex` from which on more gain little: no more are made where nobody says how many (native/core/method/vertex.h). */
export const mostPasses = 128;
