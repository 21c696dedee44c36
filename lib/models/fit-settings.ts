import type { Encoding } from '../encodings/encoding';
import { listMethods, methodsThat, traitsOf } from '../methods';
import {
  type AlphabetKind,
  alphabetKind,
  groupSizeFor,
  methodSettings,
  type MethodSettings,
  rankRule,
} from '../options';
import type { FitOptions } from '../overrides';
import type { AlphabetOptions, Method } from '../types';
import { flag } from '../option-checks';

/** Options that may differ from layer to layer. */
export const fitOptionNames = [
  ...['method', 'bits', 'levels', 'grid', 'groupSize', 'box', 'rank', 'scale', 'effort', 'damping'],
  'errorCorrection',
] as readonly (keyof FitOptions)[];

/** How a layer is fitted, with defaults filled in; what depends on a layer's size is left. */
export interface FitSettings extends MethodSettings {
  kind: AlphabetKind;
  groupSize: number | 'channel';
  rank: AlphabetOptions['rank'];
  errorCorrection: boolean;
}

/** Checks how layers are to be fitted, and that the format holds what comes out. */
export function fitSettings(options: FitOptions, hasData: boolean, encoding: Encoding): FitSettings {
  const method = methodSettings(options, hasData);
  const groupSize = options.groupSize ?? encoding.groupSize;
  groupSizeFor({ groupSize }, Infinity);
  const kind = alphabetKind(options, (levels) => encoding.gridFor(levels, options.levels !== undefined));
  encoding.check({ ...kind, groupSize });
  rankRule(options, 1, 'auto');
  return {
    ...method,
    errorCorrection: correctionFor(options, method.method),
    kind,
    groupSize,
    rank: options.rank,
  };
}

function correctionFor({ errorCorrection }: FitOptions, method: Method): boolean {
  const { correctsErrors } = traitsOf(method);
  const wanted = flag('errorCorrection', errorCorrection) ?? correctsErrors;
  if (wanted && !correctsErrors)
    throw new RangeError(
      `The "errorCorrection" option belongs to ${listMethods(methodsThat((of) => of.correctsErrors))}: the method "${method}" does not take it`,
    );
  return wanted;
}
