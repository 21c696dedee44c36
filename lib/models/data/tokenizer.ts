import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { VertexqError } from '../../errors';
import { readFolderFile, realPathIn } from '../../files/folder-file';
import { InputFile } from '../../files/input-file';
import { plainPath } from '../../files/plain-path';
import { describe } from '../../options/messages';
import { isSentencePiece, sentencePieceDocuments } from './sentence-piece/document';
import { boundGrowth } from './tokenizer-growth';

/** Turns texts into token ids. */
export interface TextEncoder {
  /** At most `maxLength` ids, with those that begin and end a text. Throws ERR_VERTEXQ_TOKENIZER. */
  encode(text: string, isFramed?: boolean): number[];
  /**
   * All ids of a text, in windows of at most `length` one behind the other. What the tokenizer puts before a text begins each of
   * them, as it does all that the network has seen; what it puts behind it ends the last. Of a text that is not framed, because it has such
   * tokens itself, that begins each which begins the text. Throws as `encode`.
   */
  windows(text: string, length: number, isFramed?: boolean): number[][];
  /** What fills up shorter texts. */
  padId: number;
}

const [tokenizerName, piecesName] = ['tokenizer.json', 'tokenizer.model'];
/** What goes with it. */
export const configName = 'tokenizer_config.json';
const defaultMaxLength = 512;
/** Larger vocabularies there are none; at some length there is no string. */
const maxBytes = 2 ** 28;
/** Texts are cut to so many characters for each token that will be left of them, and to so many in all. */
const longestToken = 100;
export const longestText = 2 ** 24;

type Fields = Record<string, unknown>;

/** What of the tokenizers library is used. Its own types do not resolve from CommonJS. */
interface Tokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { ids: unknown };
  normalizer: unknown;
  pre_tokenizer: unknown;
  token_to_id(token: string): number | undefined;
}

/**
 * Loads a `tokenizer.json`, given by its path or its folder's, or a SentencePiece model (`tokenizer.model`), and a `tokenizer_config.json` beside it, if there is one. `maxLength`
 * undefined: what the tokenizer cuts at; else the model's length that it tells, at most 512. The network takes `most`. Rejects with ERR_VERTEXQ_FILE,
 * ERR_VERTEXQ_TOKENIZER.
 */
export async function loadTokenizer(
  given: string,
  maxLength: number | undefined,
  most = Infinity,
): Promise<TextEncoder> {
  const path = await tokenizerPath(given);
  const { json, config } = await readTokenizer(path);
  if (!isFields(json['model']))
    throw tokenizerError(
      path,
      'is no tokenizer: it has no "model". Expected the tokenizer.json of the Hugging Face tokenizers library',
    );
  // Only those who tokenize pay for it.
  const { Tokenizer } = (await import('@huggingface/tokenizers')) as unknown as {
    Tokenizer: new (json: object, config: object) => Tokenizer;
  };
  let tokenizer: Tokenizer;
  try {
    tokenizer = new Tokenizer(json, config);
  } catch (cause) {
    throw tokenizerError(path, `cannot be used: ${(cause as Error).message}`, cause);
  }
  const truncation = isFields(json['truncation']) ? json['truncation'] : {};
  const length =
    maxLength ?? lengthOf(truncation['max_length']) ?? lengthOf(config['model_max_length'], defaultMaxLength);
  return encoderOf(tokenizer, path, {
    maxLength: Math.min(length ?? defaultMaxLength, most),
    padId: padIdOf(tokenizer, json, config),
    keepsEnd: truncation['direction'] === 'Left',
  });
}

/**
 * The path of a tokenizer.json from its own or its folder's; of a folder that has none but a tokenizer.model that. Rejects with
 * ERR_VERTEXQ_FILE where a folder's is a link that leads out of it.
 */
export async function tokenizerPath(path: string): Promise<string> {
  const given = plainPath(path);
  const isFolder = await stat(given).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) return given;
  const has = async (name: string) => (await realPathIn(given, name)) !== undefined;
  const isPieces = !(await has(tokenizerName)) && (await has(piecesName));
  return join(given, isPieces ? piecesName : tokenizerName);
}

/**
 * A tokenizer.json, and the tokenizer_config.json beside it, if there is one; of a SentencePiece model what they would be. Rejects with
 * ERR_VERTEXQ_FILE, ERR_VERTEXQ_TOKENIZER.
 */
export async function readTokenizer(path: string): Promise<{ json: Fields; config: Fields }> {
  const beside = async (name: string) =>
    basename(path) === name ? {} : ((await readJsonIn(dirname(path), name)) ?? {});
  if (!isSentencePiece(path)) return { json: await readJson(path), config: await beside(configName) };
  const { tokenizer, config } = await sentencePieceDocuments(
    path,
    await beside(configName),
    await beside('added_tokens.json'),
  );
  return { json: tokenizer, config };
}

/** A length from a file, if it is one; tokenizers without a limit say 10^30. */
function lengthOf(value: unknown, most = Infinity): number | undefined {
  return typeof value === 'number' && value >= 1 ? Math.min(Math.floor(value), most) : undefined;
}

function padIdOf(tokenizer: Tokenizer, json: Fields, config: Fields): number {
  const padding = json['padding'];
  const told = isFields(padding) ? padding['pad_id'] : undefined;
  if (Number.isSafeInteger(told) && (told as number) >= 0) return told as number;
  const token = isFields(config['pad_token']) ? config['pad_token']['content'] : config['pad_token'];
  for (const name of [token, '[PAD]', '<pad>']) {
    const id = typeof name === 'string' ? tokenizer.token_to_id(name) : undefined;
    if (id !== undefined) return id;
  }
  // The mask hides it.
  return 0;
}

function encoderOf(
  tokenizer: Tokenizer,
  path: string,
  { maxLength, padId, keepsEnd }: { maxLength: number; padId: number; keepsEnd: boolean },
): TextEncoder {
  const begin = boundGrowth(tokenizer);
  const idsOf = (text: string, special: boolean): number[] => {
    let ids: unknown;
    begin(text);
    try {
      ({ ids } = tokenizer.encode(text, { add_special_tokens: special }));
    } catch (cause) {
      throw tokenizerError(path, `fails at the text ${describe(text)}: ${(cause as Error).message}`, cause);
    }
    const isId = (id: unknown) => Number.isSafeInteger(id) && (id as number) >= 0;
    if (!Array.isArray(ids) || !ids.every(isId))
      throw tokenizerError(
        path,
        `gives no token id for a part of the text ${describe(text)}: it has no unknown token`,
      );
    return ids as number[];
  };
  let frame: Frame | undefined;
  return {
    padId,
    encode(text, isFramed = true) {
      const most = Math.min(maxLength * longestToken, longestText);
      const part = text.length <= most ? text : keepsEnd ? text.slice(-most) : text.slice(0, most);
      const ids = idsOf(part, isFramed);
      if (ids.length <= maxLength) return ids;
      // What begins and ends a text stays.
      const plain = idsOf(part, false);
      const { begin, end } = frameOf(plain, ids);
      const room = requireRoom(maxLength, begin.length + end.length, 'maxLength');
      return [...begin, ...(keepsEnd ? plain.slice(-room) : plain.slice(0, room)), ...end];
    },
    windows(text, length, isFramed = true) {
      const plain = idsOf(text.slice(0, longestText), false);
      if (plain.length === 0) return [];
      frame ??= frameOf(plain, idsOf(text.slice(0, longestText), true));
      if (isFramed) return cutWindows(plain, frame, length);
      const { begin } = frame;
      const isBegun = begin.every((id, i) => plain[i] === id);
      return isBegun
        ? cutWindows(plain.slice(begin.length), { begin, end: [] }, length)
        : cutWindows(plain, { begin: [], end: [] }, length);
    },
  };
}

/** What a tokenizer puts around a text. */
interface Frame {
  begin: readonly number[];
  end: readonly number[];
}

/** All of a document's ids in windows of at most `length`: `begin` before each of them, `end` behind the last. */
export function cutWindows(ids: readonly number[], { begin, end }: Frame, length: number): number[][] {
  const room = requireRoom(length, begin.length, 'sequenceLength');
  const all = end.length === 0 ? ids : [...ids, ...end];
  return Array.from({ length: Math.ceil(all.length / room) }, (_, i) => [
    ...begin,
    ...all.slice(i * room, (i + 1) * room),
  ]);
}

function requireRoom(length: number, extra: number, option: string): number {
  if (extra < length) return length - extra;
  throw new RangeError(
    `A length of ${length} tokens (the option "${option}", or what the network fixes) leaves nothing of a text: the tokenizer adds ${extra} of its own`,
  );
}

function frameOf(plain: readonly number[], ids: readonly number[]): Frame {
  const before = Math.max(0, beginOf(plain, ids, ids.length - plain.length));
  return { begin: ids.slice(0, before), end: ids.slice(before + plain.length) };
}

/** How many tokens are before the text's own; −1 where these are changed. */
function beginOf(plain: readonly number[], ids: readonly number[], extra: number): number {
  for (let before = 0; before <= extra; before++)
    if (plain.every((id, i) => ids[before + i] === id)) return before;
  return -1;
}

/** A text of a folder; undefined where there is none. Rejects with ERR_VERTEXQ_FILE, also where it is a link out of the folder, ERR_VERTEXQ_TOKENIZER. */
export async function readTextIn(folder: string, name: string): Promise<string | undefined> {
  const bytes = await readFolderFile(folder, name, maxBytes);
  return bytes && textOf(bytes, join(folder, name));
}

/** An object of a folder, as `readTextIn`. */
export async function readJsonIn(folder: string, name: string): Promise<Fields | undefined> {
  const text = await readTextIn(folder, name);
  return text === undefined ? undefined : fieldsOf(text, join(folder, name));
}

async function readJson(path: string): Promise<Fields> {
  const bytes = await InputFile.with(path, (file) => {
    if (file.size > maxBytes)
      throw tokenizerError(path, `has ${file.size} bytes: expected at most ${maxBytes}`);
    return file.read(0, file.size);
  });
  return fieldsOf(textOf(bytes, path), path);
}

function textOf(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw tokenizerError(path, `is no UTF-8 text: ${(cause as Error).message}`, cause);
  }
}

function fieldsOf(text: string, path: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw tokenizerError(path, `is no JSON: ${(cause as Error).message}`, cause);
  }
  if (!isFields(value)) throw tokenizerError(path, `should hold an object, not ${describe(value)}`);
  return value;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function tokenizerError(path: string, message: string, cause?: unknown): VertexqError {
  return new VertexqError('ERR_VERTEXQ_TOKENIZER', `${path} ${message}`, { cause });
}
