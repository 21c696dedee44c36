// Which runs there are, the most telling first: a run that is stopped leaves those.
import type { ModelOptions } from '../../lib';
import { type DigitNetwork, digitNetworks, settings as digitSettings } from './digits';
import { settings as encoderSettings } from './encoder';
import type { Measured } from './network';
import { settings as ocrSettings } from './ocr';

/** Names as in the tables. */
export const methods = {
  vertex: { method: 'vertex', effort: 128 },
  'vertex, effort 0': { method: 'vertex', effort: 0 },
  gptq: { method: 'gptq' },
  'gptq, uncorrected': { method: 'gptq', errorCorrection: false },
  'gptq, largest-weight scale, uncorrected': { method: 'gptq', scale: 'max', errorCorrection: false },
  msq: { method: 'msq' },
  'msq, largest-weight scale': { method: 'msq', scale: 'max' },
  'vertex, uncorrected': { method: 'vertex', effort: 128, errorCorrection: false },
} as const satisfies Record<string, ModelOptions>;

export type MethodName = keyof typeof methods;

export interface Plan {
  network: 'encoder' | 'ocr' | DigitNetwork;
  setting: string;
  method: MethodName;
  grid: NonNullable<ModelOptions['grid']>;
  /** Which draw of the calibration images. */
  draw: number;
}

export type Result = Plan & Measured;

export const sameRun = (a: Plan, b: Plan): boolean =>
  a.network === b.network &&
  a.setting === b.setting &&
  a.method === b.method &&
  a.grid === b.grid &&
  a.draw === b.draw;

export function optionsOf({ network, setting, method, grid }: Plan): ModelOptions {
  return { ...settingsOf(network)[setting]!.options, ...methods[method], grid };
}

function settingsOf(network: Plan['network']): Record<string, { options: ModelOptions }> {
  if (network === 'encoder') return encoderSettings;
  return network === 'ocr' ? ocrSettings : digitSettings;
}

function encoderPlan(setting: string, method: MethodName, grid?: Plan['grid']): Plan {
  return {
    network: 'encoder',
    setting,
    method,
    grid: grid ?? encoderSettings[setting]!.options.grid!,
    draw: 0,
  };
}

/** The grids that a setting's `vertex` is tried on besides its own. */
const otherGrids: [string, Plan['grid']][] = [
  ['2 bits, groups of 32', 'asymmetric'],
  ['3 bits, per channel', 'zero-free'],
  ['3 bits, groups of 32', 'zero-free'],
];

export function encoderPlans(quick: boolean): Plan[] {
  const all = Object.keys(encoderSettings);
  if (quick) return ['gptq', 'msq'].map((name) => encoderPlan(all[0]!, name as MethodName));
  const [first, ...others] = all as [string, ...string[]];
  const of = (among: string[], names: MethodName[]) =>
    among.flatMap((setting) => names.map((name) => encoderPlan(setting, name)));
  const quickOnes: MethodName[] = [
    'gptq, largest-weight scale, uncorrected',
    'msq',
    'msq, largest-weight scale',
    'gptq, uncorrected',
  ];
  return [
    ...of(all, ['vertex']),
    ...of([first], ['vertex, uncorrected']),
    ...of(all, ['gptq']),
    ...of([first], ['gptq, uncorrected', 'vertex, effort 0']),
    ...of(others, quickOnes),
    ...of(others, ['vertex, effort 0']),
    ...of([first], quickOnes.slice(0, -1)),
    ...of(others, ['vertex, uncorrected']),
    ...otherGrids.map(([setting, grid]) => encoderPlan(setting, 'vertex', grid)),
  ];
}

/** Rounding to nearest says how hard a setting is. */
export function ocrPlans(quick: boolean): Plan[] {
  const names: MethodName[] = ['gptq', 'vertex', 'msq, largest-weight scale', 'msq'];
  const settings = Object.keys(ocrSettings).slice(0, quick ? 1 : undefined);
  return (quick ? ['gptq' as const, 'msq' as const] : names).flatMap((method) =>
    settings.map((setting) => ({
      network: 'ocr' as const,
      setting,
      method,
      grid: ocrSettings[setting]!.options.grid!,
      draw: 0,
    })),
  );
}

export function digitPlans(quick: boolean): Plan[] {
  const plan = (network: DigitNetwork, setting: string, method: MethodName, draw: number): Plan => ({
    network,
    setting,
    method,
    grid: digitSettings[setting]!.options.grid!,
    draw,
  });
  const all = Object.keys(digitSettings);
  if (quick) return (['vertex', 'gptq', 'msq'] as const).map((name) => plan('mlp', '2 bits', name, 1));
  return [1, 2, 3].flatMap((draw) =>
    digitNetworks.flatMap((network) => [
      ...all.flatMap((setting) =>
        (['vertex', 'gptq', 'msq'] as const).map((name) => plan(network, setting, name, draw)),
      ),
      ...(['vertex, uncorrected', 'gptq, uncorrected'] as const).map((name) =>
        plan(network, '2 bits', name, draw),
      ),
    ]),
  );
}
