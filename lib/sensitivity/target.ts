import { about, refuse } from '../options/messages';
import type { Sensitivity } from './types';

/** Options that say how large an output may become. */
export interface TargetOptions {
  targetSize?: number;
  targetBits?: number;
  targetError?: number;
  sensitivity?: string | Sensitivity;
}

/** The options that are there once widths are chosen. */
export type WithoutTarget<Options> = Omit<Options, keyof TargetOptions>;

/** How widths are tried, whatever fits the layers in the end: what `vertex` gains on it differs little between layers. */
export const tryingMethod = 'gptq';

/** Options but some. */
export function without<Options extends object, Name extends keyof Options>(
  given: Options,
  ...names: Name[]
): Omit<Options, Name> {
  const options = { ...given };
  for (const name of names) delete options[name];
  return options;
}

export const withoutTarget = <Options extends TargetOptions>(given: Options): WithoutTarget<Options> =>
  without(given, ...targets, 'sensitivity');

const targets = ['targetSize', 'targetBits', 'targetError'] as const;

/** The target that is given; undefined where none is. */
export const targetIn = (given: TargetOptions): (typeof targets)[number] | undefined =>
  targets.find((name) => given[name] !== undefined);

export const hasTarget = (given: TargetOptions): boolean => targetIn(given) !== undefined;

/** Throws a RangeError where such options contradict each other, or others. */
export function checkTarget(
  given: TargetOptions & { bits?: number; levels?: number },
  hasData: boolean,
): void {
  const { sensitivity } = given;
  const own = targetIn(given);
  if (own === undefined) {
    if (sensitivity !== undefined)
      refuse(['sensitivity'], 'The "sensitivity" option tells what widths do, and no target is given: give "targetSize", "targetBits" or "targetError"'); // prettier-ignore
    return;
  }
  const other = targets.find((name) => name !== own && given[name] !== undefined);
  if (other !== undefined)
    refuse([own, other], `The options "${own}" and "${other}" exclude each other: give one of them`);
  for (const name of ['bits', 'levels'] as const)
    if (given[name] !== undefined)
      refuse([name, own], `The "${name}" option is for all layers alike, and "${own}" chooses a width for each: leave one of them out`); // prettier-ignore
  if (!hasData && sensitivity === undefined)
    about([own], () => {
      throw new RangeError(
        `The "${own}" option needs to know what widths do to the network: give "calibration" data (--calibration) or "ownSamples", or a "sensitivity" that was measured (--sensitivity)`,
      );
    });
}
