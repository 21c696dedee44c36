import { closest, distance } from 'fastest-levenshtein';
import {
  defaultMethod,
  listMethods,
  methodNames,
  methodOptionNames,
  methodsThat,
  takersOf,
  takes,
  traitsOf,
} from './methods';
import { isAbortSignal } from './realms';
import type { AlphabetOptions, Box, Grid, JobOptions, Method, QuantizeOptions } from './types';

// Every option of every call is checked here, before any work.

const grids: readonly Grid[] = ['integer', 'asymmetric', 'zero-free', 'full-range'];
const boxes: readonly Box[] = ['saturate', 'cell'];

const jobOptions = ['threads', 'signal', 'onProgress'] as const;
const alphabetOptions = ['bits', 'levels', 'grid', 'groupSize', 'box', 'rank'] as const;
export const preprocessOptionNames: readonly string[] = [...alphabetOptions, ...jobOptions];
export const quantizeOptionNames: readonly string[] = [
  ...preprocessOptionNames,
  'method',
  'scale',
  'effort',
  'damping',
];

/** Throws a TypeError at an option that does not exist, with the nearest one that does. */
export function requireKnown(options: object, known: readonly string[], what = 'option'): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new TypeError(`Expected the ${what}s to be an object, not ${describe(options)}`);
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
  const nearest = typeof value === 'string' ? closest(value, [...choices]) : '';
  const hint =
    typeof value === 'string' && distance(value, nearest) <= 3 ? `: did you mean "${nearest}"?` : '';
  throw new RangeError(`Expected the "${name}" option to be one of ${list}, not ${describe(value)}${hint}`);
}

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

/** How a value looks in a message: short whatever it is. */
export function describe(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 57)}...` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value !== 'object' || value === null)
    return typeof value === 'function' ? 'a function' : String(value);
  return Array.isArray(value) ? 'an array' : `a ${value.constructor?.name ?? 'object without a prototype'}`;
}

export function checkJobOptions(options: JobOptions): void {
  if (options.threads !== undefined) requireInteger('threads', options.threads, 1, Infinity);
  if (options.signal !== undefined && !isAbortSignal(options.signal))
    throw new TypeError(`Expected the "signal" option to be an AbortSignal, not ${describe(options.signal)}`);
  if (options.onProgress !== undefined && typeof options.onProgress !== 'function')
    throw new TypeError(
      `Expected the "onProgress" option to be a function, not ${describe(options.onProgress)}`,
    );
}

/** An alphabet's kind: of `levels` values, kept in codes of `bits` bits. */
export interface AlphabetKind {
  grid: Grid;
  levels: number;
  bits: number;
}

/**
 * The alphabet that options ask for. Without a grid: `zero-free` for two levels, `integer` for an odd number given as `levels`,
 * else what `fallback` says.
 */
export function alphabetKind(options: AlphabetOptions, fallback: (levels: number) => Grid): AlphabetKind {
  if (options.bits !== undefined) requireInteger('bits', options.bits, 1, 8);
  if (options.levels !== undefined) requireInteger('levels', options.levels, 2, 256);
  if (options.bits !== undefined && options.levels !== undefined)
    throw new RangeError(`The options "bits" and "levels" contradict each other: give only one of them`);
  const given = options.levels ?? 2 ** (options.bits ?? 4);
  const grid =
    options.grid === undefined
      ? given === 2
        ? 'zero-free'
        : given % 2 === 1
          ? 'integer'
          : fallback(given)
      : requireOneOf('grid', options.grid, grids);
  // An integer grid is symmetric around 0: b bits hold 2^b − 1 of its levels.
  const levels = grid === 'integer' && options.levels === undefined ? given - 1 : given;
  if (grid === 'integer' && levels % 2 === 0)
    throw new RangeError(
      `The "integer" grid has an odd number of levels, not ${levels}: use the grid "zero-free" or "asymmetric"`,
    );
  if (grid === 'integer' && levels < 3)
    throw new RangeError('One bit has no "integer" grid: use the grid "zero-free", whose two levels are ±c');
  if ((grid === 'zero-free' || grid === 'full-range') && levels % 2 === 1)
    throw new RangeError(
      `The "${grid}" grid has an even number of levels, not ${levels}: use the grid "integer" or "asymmetric"`,
    );
  if ((grid === 'asymmetric' || grid === 'full-range') && levels < 3)
    throw new RangeError(
      `The "${grid}" grid needs 3 levels or more: use the grid "zero-free", whose two levels are ±c`,
    );
  return { grid, levels, bits: Math.ceil(Math.log2(levels)) };
}

/** The grid of a layer by itself: four levels give less error without one at 0, more of them with a zero point of their own. */
export const layerGrid = (levels: number): Grid => (levels === 4 ? 'zero-free' : 'asymmetric');

/** Inputs per scale, at most inFeatures. */
export function groupSizeFor(
  options: AlphabetOptions,
  inFeatures: number,
  fallback: number | 'channel' = 'channel',
): number {
  const given = options.groupSize ?? fallback;
  if (given === 'channel') return inFeatures;
  if (typeof given !== 'number')
    throw new TypeError(
      `Expected the "groupSize" option to be a number or "channel", not ${describe(given)}`,
    );
  return Math.min(requireInteger('groupSize', given, 1, Infinity), inFeatures);
}

export function boxFor(options: AlphabetOptions, fallback: Box): Box {
  return options.box === undefined ? fallback : requireOneOf('box', options.box, boxes);
}

export interface RankRule {
  rank: 'full' | 'auto' | 'limit';
  rankLimit: number;
}

/** How many directions to hold. A number below 1 is a fraction of inFeatures; without one, `fallback`. */
export function rankRule(options: AlphabetOptions, inFeatures: number, fallback: 'full' | 'auto'): RankRule {
  const given = options.rank;
  if (given === undefined) return { rank: fallback, rankLimit: 0 };
  if (given === 'auto') return { rank: 'auto', rankLimit: 0 };
  if (typeof given !== 'number')
    throw new TypeError(`Expected the "rank" option to be a number or "auto", not ${describe(given)}`);
  if (given > 0 && given < 1)
    return { rank: 'limit', rankLimit: Math.max(1, Math.round(given * inFeatures)) };
  if (!Number.isInteger(given) || given < 0)
    throw new RangeError(
      `Expected the "rank" option to be a whole number, or a fraction between 0 and 1, not ${describe(given)}`,
    );
  return { rank: 'limit', rankLimit: Math.min(given, inFeatures) };
}

/** The method and its own options, with defaults filled in. */
export interface MethodSettings {
  method: Method;
  scale: 'max' | 'search';
  box: Box;
  /** Passes of `vertex` after the walk (`effort`), and in bench/quality rounds of `gptq` after the first decoding; −1 for as many as pay. */
  passes: number;
  /** Relative to the mean of the Gram matrix's diagonal; −1 for the method's default. */
  damping: number;
}

/** Checks the method and what belongs to it. `hasData`: whether there is any calibration data. */
export function methodSettings(options: QuantizeOptions, hasData: boolean): MethodSettings {
  const method = methodFor(options.method, hasData);
  for (const name of methodOptionNames)
    if (options[name] !== undefined && !takes(method, name))
      throw new RangeError(
        `The "${name}" option belongs to ${listMethods(takersOf(name))}: the method "${method}" does not take it`,
      );
  return {
    method,
    scale: scaleFor(options, method),
    box: boxFor(options, 'cell'),
    passes: passesFor(options.effort),
    damping: dampingFor(options.damping),
  };
}

/** Throws a RangeError where a value is no method's name. */
export const requireMethod = (value: unknown, option = 'methods'): Method =>
  requireOneOf(option, value, methodNames);

function methodFor(given: Method | undefined, hasData: boolean): Method {
  const method = given === undefined ? defaultMethod(hasData) : requireMethod(given, 'method');
  if (traitsOf(method).needsData && !hasData) {
    const others = methodsThat(({ needsData }) => !needsData).map((name) => `"${name}"`);
    throw new RangeError(
      `The method "${method}" needs calibration data: only ${others.join(' and ')} works without`,
    );
  }
  return method;
}

function scaleFor(options: QuantizeOptions, method: Method): 'max' | 'search' {
  const { scales } = traitsOf(method);
  if (options.scale === undefined) return scales[0]!;
  const scale = requireOneOf('scale', options.scale, ['search', 'max']);
  if (!scales.includes(scale))
    throw new RangeError(
      `The method "${method}" needs the scale "${scales[0]}": its alphabet covers every weight, c = ‖w‖∞`,
    );
  return scale;
}

function passesFor(effort: QuantizeOptions['effort']): number {
  if (effort === undefined || effort === 'auto') return -1;
  if (typeof effort !== 'number')
    throw new TypeError(`Expected the "effort" option to be a number or "auto", not ${describe(effort)}`);
  return requireInteger('effort', effort, 0, maxPasses);
}

/** More than anyone waits for, and more than leaves anything of the data: what the addon takes. */
const maxPasses = 1_000_000;
const maxDamping = 1_000_000;

function dampingFor(damping: unknown): number {
  if (damping === undefined) return -1;
  if (typeof damping !== 'number')
    throw new TypeError(`Expected the "damping" option to be a number, not ${describe(damping)}`);
  if (!(damping >= 0 && damping <= maxDamping))
    throw new RangeError(
      `Expected the "damping" option to be a number from 0 to ${maxDamping}, not ${describe(damping)}`,
    );
  return damping;
}
