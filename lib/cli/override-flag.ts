import { calls } from '../options/table';
import type { LayerOverride } from '../models/types';
import type { Command } from 'commander';
import { flagOf, reading } from './flags';

// What --override may set: what may differ in networks, or in checkpoints. Each refuses what it does not take.
const settings = Object.entries({
  ...calls.quantizeCheckpoint.overrides.kind.items,
  ...calls.quantizeModel.overrides.kind.items,
}).filter(([name]) => name !== 'layers');
const named = new Map(settings.map(([name, { kind }]) => [flagOf(name).slice(2), { name, kind }]));

/** Adds `--override`. */
export const addOverride = (command: Command): Command =>
  command.option(
    '--override <glob=settings>',
    'what is different for some layers, as "*down_proj*=bits:8,group-size:32"; may be given several times',
    (text, before: unknown) => reading(() => override(text, before)),
  );

/** `glob=bits:8,group-size:32`; several flags add up. Throws a RangeError at any other text. */
function override(text: string, before: unknown): LayerOverride[] {
  // Globs may have an "=" of their own.
  const at = text.lastIndexOf('=');
  const own: Record<string, unknown> = { layers: text.slice(0, Math.max(0, at)) };
  for (const setting of at > 0 ? text.slice(at + 1).split(',') : ['']) {
    const [, name = '', value = ''] = /^([^:]*):(.*)$/.exec(setting) ?? [];
    const found = named.get(name);
    if (!found)
      throw new RangeError(
        `Expected a glob, "=", and settings such as bits:8,group-size:32 (${[...named.keys()].join(', ')}).`,
      );
    const { parse, argument } = found.kind;
    // What is a flag by itself takes no value there.
    const isYesOrNo = argument === null && /^(true|false)$/.test(value);
    own[found.name] = isYesOrNo ? value === 'true' : (parse?.(value) ?? value);
  }
  return [...((before as LayerOverride[] | undefined) ?? []), own as unknown as LayerOverride];
}

const which = (index: string) =>
  `${['first', 'second', 'third'][Number(index)] ?? `${Number(index) + 1}th`} "--override"`;

/** A message about `overrides` that flags have made, as who typed them knows it: `the "overrides[1].bits" option` is `"bits" of the second "--override"`. */
export const asTyped = (message: string): string =>
  message
    .replace(/^overrides\[(\d+)\]: /, (_, index: string) => `the ${which(index)}: `)
    .replace(
      /(the) "overrides\[(\d+)\](?:\.(\w+))?" option/gi,
      (_, the: string, index: string, name?: string) =>
        name === undefined || name === 'layers'
          ? `${the} ${which(index)}`
          : `"${flagOf(name).slice(2)}" of the ${which(index)}`,
    );
