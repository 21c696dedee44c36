import { takes } from '../methods';
import type { Method, QuantizeOptions } from '../types';
import { refuse } from './messages';

// Choices between time and error, by name. docs/networks.md has what each costs and gives.

/** What a preset gives where the options say nothing else. */
type Row = Readonly<{ method: Method; effort?: number | 'auto' }>;

export const presets = {
  fast: { method: 'gptq' },
  balanced: { method: 'vertex', effort: 'auto' },
  best: { method: 'vertex', effort: 128 },
} as const satisfies Record<string, Row>;
export type Preset = keyof typeof presets;

export const presetNames = Object.keys(presets) as Preset[];

/** Options with what their preset gives; what is given besides wins. Throws a RangeError at a preset without data, which has one method. */
export function withPreset<Options extends QuantizeOptions & { preset?: Preset; time?: number }>(
  options: Options,
  hasData: boolean,
): Options {
  const { preset } = options;
  if (preset === undefined) return options;
  if (!hasData)
    refuse(
      ['preset'],
      'The "preset" option is about fits to data, and no data is given: without it "msq" is all there is',
    );
  const row: Row = presets[preset];
  const method = options.method ?? row.method;
  const isByEffort = options.time === undefined && takes(method, 'effort');
  const effort = options.effort ?? (isByEffort ? row.effort : undefined);
  return { ...options, method, ...(effort !== undefined && { effort }) };
}
