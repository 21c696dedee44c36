import type { DataOptions } from '../models/types';
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

/** Throws a RangeError where something is to be held out of no data. */
export function requireDataFor(holdout: unknown, data: string, hasData: boolean): void {
  if (holdout !== undefined && !hasData)
    refuse(['holdout'], `The "holdout" option needs "${data}": without data there is nothing to hold out`);
}
