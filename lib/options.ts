import {
  defaultMethod,
  listMethods,
  methodOptionNames,
  methodsThat,
  plainMethod,
  takersOf,
  takes,
  traitsOf,
} from './methods';
import { about, refuse } from './options/messages';
import { mostOfTable } from './options/kinds';
import { defaults } from './options/defaults';
import type { AlphabetOptions, AnyGrid, Box, Grid, Method, QuantizeOptions } from './types';

// What options mean together. Each by itself has been checked (options/table.ts).

/** An alphabet's kind: of `levels` values, kept in codes of `bits` bits. */
export interface AlphabetKind {
  grid: AnyGrid;
  levels: number;
  bits: number;
  /** Of a `table` alone: its levels. */
  table?: Float32Array | null;
}

/**
 * The alphabet that options ask for. Without a grid: `zero-free` for two levels, `integer` for an odd number given as `levels`,
 * else what `fallback` says.
 */
export const alphabetKind = (options: AlphabetOptions, fallback: (levels: number) => Grid): AlphabetKind =>
  about(['bits', 'levels', 'grid'], () => kindOf(options, fallback));

function kindOf(options: AlphabetOptions, fallback: (levels: number) => Grid): AlphabetKind {
  if (options.bits !== undefined && options.levels !== undefined)
    throw new RangeError(`The options "bits" and "levels" contradict each other: give only one of them`);
  if (typeof options.grid === 'object') return tableKind(options, Float32Array.from(options.grid));
  const given = options.levels ?? 2 ** (options.bits ?? defaults.bits);
  const grid = options.grid ?? (given === 2 ? 'zero-free' : given % 2 === 1 ? 'integer' : fallback(given));
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
  if (grid === 'float-minimum' && levels > mostOfTable)
    throw new RangeError(
      `The "float-minimum" grid has ${mostOfTable} levels at most, not ${levels}: use the grid "asymmetric"`,
    );
  return { grid, levels, bits: bitsFor(levels) };
}

const bitsFor = (levels: number) => Math.ceil(Math.log2(levels));

function tableKind({ bits, levels }: AlphabetOptions, table: Float32Array): AlphabetKind {
  const own = bitsFor(table.length);
  if (levels !== undefined && levels !== table.length)
    throw new RangeError(
      `The "grid" option has ${table.length} levels, and "levels" is ${levels}: leave it out`,
    );
  if (bits !== undefined && bits !== own)
    throw new RangeError(
      `The "grid" option has ${table.length} levels, which take ${own} bits, and "bits" is ${bits}: leave it out`,
    );
  return { grid: 'table', levels: table.length, bits: own, table };
}

/** The grid of a layer by itself: four levels give less error without one at 0, more of them with a zero point of their own. */
export const layerGrid = (levels: number): Grid => (levels === 4 ? 'zero-free' : 'asymmetric');

/** Inputs per scale, at most inFeatures. */
export function groupSizeFor(
  { groupSize }: AlphabetOptions,
  inFeatures: number,
  fallback: number | 'channel' = 'channel',
): number {
  const given = groupSize ?? fallback;
  return given === 'channel' ? inFeatures : Math.min(given, inFeatures);
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
  if (given > 0 && given < 1)
    return { rank: 'limit', rankLimit: Math.max(1, Math.round(given * inFeatures)) };
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

/** Checks the method against what belongs to it. `hasData`: whether there is any calibration data. */
export function methodSettings(options: QuantizeOptions, hasData: boolean): MethodSettings {
  const method = methodFor(options.method, hasData);
  for (const name of methodOptionNames)
    if (options[name] !== undefined && !takes(method, name))
      refuse(
        [name, 'method'],
        `The "${name}" option belongs to ${listMethods(takersOf(name))}: the method "${method}" does not take it`,
      );
  const { effort, damping, box = 'cell' } = options;
  return {
    method,
    scale: about(['scale', 'method'], () => scaleFor(options, method)),
    box,
    passes: effort === undefined || effort === 'auto' ? -1 : effort,
    damping: damping ?? -1,
  };
}

function methodFor(given: Method | undefined, hasData: boolean): Method {
  const method = given ?? defaultMethod(hasData);
  if (traitsOf(method).needsData && !hasData)
    refuse(['method'], `The method "${method}" needs calibration data: only "${plainMethod}" works without`);
  return method;
}

function scaleFor({ scale }: QuantizeOptions, method: Method): 'max' | 'search' {
  const { scales } = traitsOf(method);
  if (scale !== undefined && !scales.includes(scale))
    throw new RangeError(
      `The method "${method}" needs the scale "${scales[0]}": its alphabet covers every weight, c = ‖w‖∞`,
    );
  return scale ?? scales[0]!;
}

/** Whether layers are fitted to what the float network gives. Throws a RangeError where the method cannot. */
export function correctionFor(
  { errorCorrection }: { errorCorrection?: boolean | undefined },
  method: Method,
): boolean {
  const { correctsErrors } = traitsOf(method);
  const wanted = errorCorrection ?? correctsErrors;
  if (wanted && !correctsErrors)
    refuse(
      ['errorCorrection', 'method'],
      `The "errorCorrection" option belongs to ${listMethods(methodsThat((of) => of.correctsErrors))}: the method "${method}" does not take it`,
    );
  return wanted;
}
