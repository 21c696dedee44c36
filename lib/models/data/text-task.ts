import type { TaskContext } from '../../workers/protocol';
import { spread } from '../../fit/held-out';
import { describe } from '../../options/messages';
import { forEachLine, parseLine } from './json-lines';
import { calibrationError } from './tensor-checks';
import { loadTokenizer, longestText } from './tokenizer';

// Texts to token ids: where a tokenizer is stuck, only the process of this task is.

export interface TextTask {
  paths: readonly string[];
  /** The path of a tokenizer.json, or its folder. */
  tokenizer: string;
  /** Tokens of a window, where texts are cut into such; else a text is one, cut at `maxLength`. */
  sequenceLength: number | undefined;
  maxLength: number | undefined;
  /** How many tokens the network takes, where it fixes that; else Infinity. */
  most: number;
  /** Of more documents so many are read, spread over all. */
  samples: number;
  textField: string;
}

/** The ids of some windows, one behind the other; how many each has, and which document it is of. */
export interface EncodedTexts {
  ids: Float64Array;
  lengths: Uint32Array;
  documents: Uint32Array;
}

/** Ids that are passed on at once: many, for messages have their price. */
const perPart = 2 ** 16;

/** Passes `EncodedTexts` on; the units are [file, line], where line 0 is the loading of the tokenizer. */
export async function encodeTexts(
  { paths, tokenizer, sequenceLength, maxLength, most, samples, textField }: TextTask,
  { enter, part, warn }: TaskContext,
): Promise<{ padId: number }> {
  enter([0, 0]);
  const encoder = await loadTokenizer(tokenizer, maxLength, most);
  enter(null);
  const isTaken = await choiceOf(paths, samples);
  let ids: number[] = [];
  let lengths: number[] = [];
  let documents: number[] = [];
  const flush = () => {
    part({
      ids: Float64Array.from(ids),
      lengths: Uint32Array.from(lengths),
      documents: Uint32Array.from(documents),
    } satisfies EncodedTexts);
    [ids, lengths, documents] = [[], [], []];
  };
  let document = 0;
  for (const [file, path] of paths.entries())
    await forEachLine(path, (line, where, number) => {
      if (!isTaken()) return;
      enter([file, number]);
      const text = /\.txt$/i.test(path) ? line : textOf(parseLine(line, where), textField, where);
      if (sequenceLength !== undefined && text.length > longestText)
        warn(`${where}: of ${text.length} characters the first ${longestText} are used`);
      const windows =
        sequenceLength === undefined ? [encoder.encode(text)] : encoder.windows(text, sequenceLength);
      for (const window of windows) {
        if (window.length === 0) continue;
        for (const id of window) ids.push(id);
        lengths.push(window.length);
        documents.push(document);
        if (ids.length >= perPart) flush();
      }
      document++;
      enter(null);
    });
  flush();
  return { padId: encoder.padId };
}

/** Which documents are taken, to be asked for one after the other: where there are more than `samples`, so many. */
async function choiceOf(paths: readonly string[], samples: number): Promise<() => boolean> {
  if (samples === Infinity) return () => true;
  let count = 0;
  for (const path of paths) await forEachLine(path, () => void count++);
  return spread(Math.min(samples, count), count);
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
