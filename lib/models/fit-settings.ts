import type { Encoding } from '../encodings/encoding';
import {
  type AlphabetKind,
  alphabetKind,
  correctionFor,
  methodSettings,
  type MethodSettings,
} from '../options';
import type { FitOptions } from '../overrides';
import type { AlphabetOptions } from '../types';
import { about } from '../options/messages';

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
  const kind = alphabetKind(options, (levels) => encoding.gridFor(levels));
  about(['format', 'bits', 'levels', 'grid', 'groupSize'], () => encoding.check({ ...kind, groupSize }));
  return {
    ...method,
    errorCorrection: correctionFor(options, method.method),
    kind,
    groupSize,
    rank: options.rank,
  };
}
