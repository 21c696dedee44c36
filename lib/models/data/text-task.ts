import type { TaskContext } from '../../workers/protocol';
import { describe } from '../../options/messages';
import { forEachLine, parseLine } from './json-lines';
import { calibrationError } from './tensor-checks';
import { loadTokenizer } from './tokenizer';

// Texts to token ids: where a tokenizer is stuck, only the process of this task is.

export interface TextTask {
  paths: readonly string[];
  /** The path of a tokenizer.json, or its folder. */
  tokenizer: string;
  maxLength: number | undefined;
  /** How many tokens the network takes, where it fixes that; else Infinity. */
  most: number;
  textField: string;
}

/** The ids of some texts, one behind the other, and how many each has. */
export interface EncodedTexts {
  ids: Float64Array;
  lengths: Uint32Array;
}

/** Ids that are passed on at once: many, for messages have their price. */
const perPart = 2 ** 16;

/** Passes `EncodedTexts` on; the units are [file, line], where line 0 is the loading of the tokenizer. */
export async function encodeTexts(
  { paths, tokenizer, maxLength, most, textField }: TextTask,
  { enter, part }: TaskContext,
): Promise<{ padId: number }> {
  enter([0, 0]);
  const encoder = await loadTokenizer(tokenizer, maxLength, most);
  let ids: number[] = [];
  let lengths: number[] = [];
  const flush = () => {
    part({ ids: Float64Array.from(ids), lengths: Uint32Array.from(lengths) } satisfies EncodedTexts);
    [ids, lengths] = [[], []];
  };
  for (const [file, path] of paths.entries()) {
    enter(null);
    await forEachLine(path, (line, where, number) => {
      enter([file, number]);
      const text = /\.txt$/i.test(path) ? line : textOf(parseLine(line, where), textField, where);
      const found = encoder.encode(text);
      if (found.length > 0) {
        for (const id of found) ids.push(id);
        lengths.push(found.length);
        if (ids.length >= perPart) flush();
      }
      enter(null);
    });
  }
  flush();
  return { padId: encoder.padId };
}

function textOf(value: unknown, field: string, where: string): string {
  if (typeof value === 'string') return value;
  const found = typeof value === 'object' && value !== null && !Array.isArray(value);
  const text: unknown =
    found && Object.hasOwn(value, field) ? (value as Record<string, unknown>)[field] : undefined;
  if (typeof text === 'string') return text;
  const has = found
    ? `fields ${Object.keys(value).slice(0, 10).map(describe).join(', ') || 'none'}`
    : describe(value);
  throw calibrationError(
    where,
    text === undefined
      ? `expected a text, or an object with the field ${describe(field)} (the option "textField", or --text-field, names another), not ${has}`
      : `the field ${describe(field)} should be a text, not ${describe(text)}`,
  );
}
