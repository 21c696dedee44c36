import { spread } from '../../fit/held-out';
import { describe } from '../../options/messages';
import type { TaskContext, Unit } from '../../workers/protocol';
import { type ChatTemplate, loadChatTemplate } from './chat-template';
import { Broken, type Skipped } from './broken';
import { forEachLine, parseLine } from './json-lines';
import { calibrationError } from './tensor-checks';
import { cutWindows, isFields, loadTokenizer, longestText, type TextEncoder } from './tokenizer';

// Texts to token ids: where a tokenizer is stuck, only the process of this task is.

export interface TextTask {
  paths: readonly string[];
  /** The path of a tokenizer.json; token ids need none. */
  tokenizer: string | undefined;
  /** Tokens of a window, where texts are cut into such; else a text is one, cut at `maxLength`. */
  sequenceLength: number | undefined;
  maxLength: number | undefined;
  /** How many tokens the network takes, where it fixes that; else Infinity. */
  most: number;
  /** Of more documents so many are read, spread over all. */
  samples: number;
  textField: string;
  /** How many tokens the network knows, where that is known; else Infinity. */
  vocabulary: number;
  /** Whether documents that cannot be read are left out. */
  skipBroken: boolean;
}

/** The ids of some windows, one behind the other; how many each has, and which document it is of. */
export interface EncodedTexts {
  ids: Float64Array;
  lengths: Uint32Array;
  documents: Uint32Array;
}

/** Ids that are passed on at once: many, for messages have their price. */
const perPart = 2 ** 16;

/**
 * Passes `EncodedTexts` on; the units are [file, line], where line 0 is the loading of the tokenizer, and [files + file, line], a chat's
 * template.
 */
export async function encodeTexts(
  task: TextTask,
  { enter, part, warn }: TaskContext,
): Promise<{ padId: number; skipped: Skipped; documents: number }> {
  const { paths, samples, skipBroken } = task;
  enter(null);
  const isTaken = await choiceOf(paths, samples, skipBroken);
  const broken = new Broken(skipBroken);
  const encoder = new DocumentEncoder(task, warn, enter);
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
  for (const [file, path] of paths.entries()) {
    const use = async (line: string, where: string, number: number) => {
      if (!isTaken()) return;
      const found = await encoder
        .windowsOf(line, where, file, number)
        .catch((error: unknown) => broken.note(error));
      for (const window of found ?? []) {
        if (window.length === 0) continue;
        for (const id of window) ids.push(id);
        lengths.push(window.length);
        documents.push(document);
        if (ids.length >= perPart) flush();
      }
      if (found) document++;
      enter(null);
    };
    await forEachLine(path, use, undefined, broken);
  }
  flush();
  return { padId: encoder.padId, skipped: broken.found(document), documents: document };
}

/** Which documents are taken, to be asked for one after the other: where there are more than `samples`, so many. */
async function choiceOf(
  paths: readonly string[],
  samples: number,
  skipBroken: boolean,
): Promise<() => boolean> {
  if (samples === Infinity) return () => true;
  let count = 0;
  for (const path of paths) await forEachLine(path, () => void count++, undefined, new Broken(skipBroken));
  return spread(Math.min(samples, count), count);
}

/** A line's document as windows. What that takes is loaded when the first line needs it. */
class DocumentEncoder {
  private tokenizer: TextEncoder | undefined;
  private template: ChatTemplate | undefined;

  constructor(
    private readonly task: TextTask,
    private readonly warn: TaskContext['warn'],
    private readonly enter: TaskContext['enter'],
  ) {}

  get padId(): number {
    return this.tokenizer?.padId ?? 0;
  }

  async windowsOf(line: string, where: string, file: number, number: number): Promise<number[][]> {
    const { paths, textField } = this.task;
    this.enter([file, number]);
    if (/\.txt$/i.test(paths[file]!)) return this.textWindows(line, where, [file, number]);
    const value = parseLine(line, where);
    const fields = isFields(value) ? value : {};
    const has = (name: string) => Object.hasOwn(fields, name);
    if (has('messages') && !has(textField)) {
      const path = this.requireTokenizer(where);
      this.enter([paths.length + file, number]);
      this.template ??= await loadChatTemplate(path, where);
      return this.textWindows(this.template(fields, where), where, [file, number], false);
    }
    if (Array.isArray(value)) return this.idWindows(value, where);
    if (has('input_ids') && !has(textField)) return this.idWindows(fields['input_ids'], where);
    return this.textWindows(textOf(value, textField, where), where, [file, number]);
  }

  private requireTokenizer(where: string): string {
    if (this.task.tokenizer !== undefined) return this.task.tokenizer;
    throw calibrationError(
      where,
      'is text, which needs a tokenizer: give the path of a tokenizer.json (the option "tokenizer", or --tokenizer)',
    );
  }

  private async textWindows(text: string, where: string, unit: Unit, isFramed = true): Promise<number[][]> {
    const { sequenceLength, maxLength, most } = this.task;
    if (!this.tokenizer) {
      const path = this.requireTokenizer(where);
      this.enter([0, 0]);
      this.tokenizer = await loadTokenizer(path, maxLength, most);
    }
    this.enter(unit);
    if (sequenceLength === undefined) return [this.tokenizer.encode(text, isFramed)];
    if (text.length > longestText)
      this.warn(`${where}: of ${text.length} characters the first ${longestText} are used`);
    return this.tokenizer.windows(text, sequenceLength, isFramed);
  }

  private idWindows(ids: unknown, where: string): number[][] {
    const { sequenceLength, maxLength = Infinity, most, vocabulary } = this.task;
    const expected = `expected token ids, ${vocabulary === Infinity ? 'whole numbers of 0 and more' : `whole numbers from 0 to ${vocabulary - 1}`}`;
    if (!Array.isArray(ids)) throw calibrationError(where, `${expected}, in an array, not ${describe(ids)}`);
    const odd = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabulary);
    if (odd >= 0) throw calibrationError(where, `${expected}, not ${describe(ids[odd])}, at ${odd}`);
    return sequenceLength === undefined
      ? [ids.slice(0, Math.min(maxLength, most)) as number[]]
      : cutWindows(ids as number[], { begin: [], end: [] }, sequenceLength);
  }
}

function textOf(value: unknown, field: string, where: string): string {
  if (typeof value === 'string') return value;
  const found = isFields(value);
  const text: unknown = found && Object.hasOwn(value, field) ? value[field] : undefined;
  if (typeof text === 'string') return text;
  const has = found
    ? `fields ${Object.keys(value).slice(0, 10).map(describe).join(', ') || 'none'}`
    : describe(value);
  throw calibrationError(
    where,
    text === undefined
      ? `expected a text, or an object with the field ${describe(field)} (the option "textField", or --text-field, names another), "messages" or "input_ids", not ${has}`
      : `the field ${describe(field)} should be a text, not ${describe(text)}`,
  );
}
