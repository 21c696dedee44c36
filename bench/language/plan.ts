// Which runs there are, the most telling first: a run that is stopped leaves those.
import type { CheckpointOptions } from '../../lib';

/** Of every run: at three and two bits its zero points are worth more than what they take. */
export const grid = 'asymmetric';

/** Named as in the tables. */
export const methods = {
  msq: { method: 'msq' },
  gptq: { method: 'gptq' },
  'gptq published': { method: 'gptq', scale: 'max', errorCorrection: false },
  'vertex effort 0': { method: 'vertex', effort: 0 },
  vertex: { method: 'vertex' },
  'vertex uncorrected': { method: 'vertex', errorCorrection: false },
  'gptq uncorrected': { method: 'gptq', errorCorrection: false },
  'vertex effort 0 uncorrected': { method: 'vertex', effort: 0, errorCorrection: false },
} as const satisfies Record<string, CheckpointOptions>;

export type MethodName = keyof typeof methods;

export const settings = [
  { bits: 3, groupSize: 64 },
  { bits: 4, groupSize: 64 },
  { bits: 2, groupSize: 32 },
  { bits: 3, groupSize: 32 },
  { bits: 4, groupSize: 32 },
  { bits: 2, groupSize: 64 },
] as const;

export interface Plan {
  bits: number;
  groupSize: number;
  method: MethodName;
  /** Calibration tokens that were asked for; 0 for msq, which takes none. */
  tokens: number;
}

/** All methods of a setting: they are judged together, beside one float network. */
export const plansOf = (setting: (typeof settings)[number], tokens: number): Plan[] =>
  (Object.keys(methods) as MethodName[]).map((method) => ({
    ...{ ...setting, method, tokens: method === 'msq' ? 0 : tokens },
  }));

export const nameOf = ({ bits, groupSize, method, tokens }: Plan): string =>
  `${bits} bits, groups of ${groupSize}, ${method}, ${tokens} tokens`;
