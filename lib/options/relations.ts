import { defaultMethod, listMethods, takersOf, takes } from '../methods';
import type { DataOptions, ModelOptions } from '../models/types';
import { formatSeconds } from '../reports/units';
import { warn, type Warning } from '../warning-codes';
import { refuse } from './messages';
import { checkGiven } from './kinds';
import { data as dataOptions } from './data-rows';

// What several calls ask of options together.

/** Throws a RangeError at an option about text without a tokenizer, and at two that exclude each other. */
export function checkTextOptions(options: Given<DataOptions>): void {
  if (options.sequenceLength !== undefined && options.maxLength !== undefined)
    refuse(
      ['sequenceLength', 'maxLength'],
      'The options "sequenceLength" and "maxLength" exclude each other: a text is cut into windows, or what is longer than one is left out',
    );
  for (const name of ['maxLength', 'textField'] as const)
    if (options[name] !== undefined && options.tokenizer === undefined)
      refuse(
        [name],
        `The "${name}" option is about text, which needs a "tokenizer": the path of a tokenizer.json`,
      );
}

/** Options as those who pass them on have them. */
export type Given<Options> = { [Name in keyof Options]?: Options[Name] | undefined };

/** The data options among others. */
export function dataOptionsOf(options: Given<DataOptions>): DataOptions {
  const names = Object.keys(dataOptions) as (keyof DataOptions)[];
  return Object.fromEntries(
    names.flatMap((name) => (options[name] === undefined ? [] : [[name, options[name]]])),
  );
}

/** Throws a TypeError or RangeError at a data option that is wrong, among others. */
export function checkDataOptions(options: Given<DataOptions>): void {
  checkGiven(options, dataOptions);
  checkTextOptions(options);
}

/** Throws a RangeError at a time for a run that has no passes to spend it on. `hasData`: whether the network is run. */
export function checkTime(
  options: Given<Pick<ModelOptions, 'time' | 'effort' | 'method'>>,
  hasData: boolean,
): void {
  if (options.time === undefined) return;
  if (!hasData)
    refuse(
      ['time'],
      'The "time" option is about fits to "calibration" data, which is not given: without, a run takes as long as it takes',
    );
  if (options.effort !== undefined)
    refuse(
      ['time', 'effort'],
      'The options "time" and "effort" exclude each other: passes are made while there is time, or so many',
    );
  const method = options.method ?? defaultMethod(true);
  if (!takes(method, 'effort'))
    refuse(
      ['time', 'method'],
      `The "time" option belongs to ${listMethods(takersOf('effort'))}: the method "${method}" makes no passes to spend it on`,
    );
}

/** When a run that has `begun` is to be done, as performance.now() tells it; null where nobody says. */
export const deadlineOf = (
  { time }: { time?: number | undefined },
  begun = performance.now(),
): number | null => (time === undefined ? null : begun + 1000 * time);

/** What is warned of where a run took longer than it should have. */
export function overTime(time: number | undefined, seconds: number): Warning[] {
  if (time === undefined || seconds <= time) return [];
  return [
    warn(
      'WARN_VERTEXQ_OVER_TIME',
      `The run took ${formatSeconds(seconds)}, and ${formatSeconds(time)} were asked for ("time"): layers were made as quickly as vertex makes them. The preset "fast", or less data, takes less.`,
    ),
  ];
}

/** Throws a RangeError where something is to be held out of no data. */
export function requireDataFor(holdout: unknown, data: string, hasData: boolean): void {
  if (holdout !== undefined && !hasData)
    refuse(['holdout'], `The "holdout" option needs "${data}": without data there is nothing to hold out`);
}
