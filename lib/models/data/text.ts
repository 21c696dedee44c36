import { VertexqError } from '../../errors';
import { requireMemory } from '../../files/input-file';
import { spread } from '../../fit/held-out';
import { describe } from '../../options/messages';
import { isolated } from '../../workers/isolated';
import { Turns } from '../../yielding';
import type { DataOptions } from '../types';
import { skippedWarnings } from './broken';
import { integerTensor, isTokenType } from './integers';
import { madeInputs } from './made-inputs';
import type { Padding, Piece } from './samples';
import { calibrationError, type CheckedTensor, type ModelInput } from './tensor-checks';
import type { EncodedTexts, encodeTexts, TextTask } from './text-task';
import { tokenizerPath } from './tokenizer';
import { warn, type Warning } from '../../warning-codes';

// Texts as samples: tokenized, in the order of their length, so that those which are padded to one length hardly differ.

/** What a text fills, and how a place is filled up that no token is at. */
const tokenInputs: Record<string, (ids: ArrayLike<number>) => ArrayLike<number>> = {
  input_ids: (ids) => ids,
  attention_mask: ({ length }) => new Uint8Array(length).fill(1),
  token_type_ids: ({ length }) => new Uint8Array(length),
  position_ids: ({ length }) => Int32Array.from({ length }, (_, i) => i),
};

export interface Texts {
  pieces: Piece[];
  padding: Padding | null;
  warnings: Warning[];
}

/** What a tokenizer may take. A text of the longest that are taken takes milliseconds, the largest tokenizers some seconds to load. */
const tokenizerLimits = { seconds: 20, heap: 4096 };

/** Tokens that are run together: a document, or a part of one. */
export interface Window {
  /** The number of its document. */
  document: number;
  ids: Float64Array;
}

export interface WindowOptions extends Omit<DataOptions, 'batchSize' | 'batchAxis' | 'image'> {
  /** How many tokens the network knows: ids that are given are compared with it. */
  vocabulary?: number | undefined;
  /** How many tokens the network takes, where it fixes that. */
  most?: number | undefined;
}

export interface Windows {
  /** In the order of the files. */
  windows: Window[];
  /** What fills up shorter ones. */
  padId: number;
  /** What the tokenizers library said, and which lines were left out. */
  warnings: Warning[];
}

/**
 * Reads text files, `.txt` with a document a line or `.jsonl` with one in each, as text, as a chat's messages or as token ids, and tokenizes them in a process of its own: each document becomes windows of
 * `sequenceLength` tokens, the last one shorter, that do not overlap and never hold tokens of two; a token that the tokenizer puts at the
 * start begins each. Of more than `samples` windows so many are taken: of each document as many as of any other that has them, spread
 * over it; of more documents than that one each, spread over the files.
 * Rejects with ERR_VERTEXQ_CALIBRATION at a line that is no text, ERR_VERTEXQ_TIME and ERR_VERTEXQ_MEMORY at one that the tokenizer takes
 * too long or too much memory for.
 */
export async function readWindows(
  paths: readonly string[],
  options: WindowOptions,
  signal?: AbortSignal,
  limits = tokenizerLimits,
): Promise<Windows> {
  const { samples = Infinity, textField = 'text', sequenceLength, maxLength } = options;
  const { most = Infinity, vocabulary = Infinity, skipBroken = false } = options;
  const windows: Window[] = [];
  const warnings: Warning[] = [];
  const tokenizer = options.tokenizer === undefined ? undefined : await tokenizerPath(options.tokenizer);
  let bytes = 0;
  const { padId, skipped, documents } = (await isolated(
    'texts',
    {
      ...{ paths, tokenizer, sequenceLength, maxLength, most, samples, textField, vocabulary },
      skipBroken,
    } satisfies TextTask,
    {
      ...limits,
      signal,
      nameOf: ([path, line]) => (line === 0 ? tokenizer! : `${paths[path % paths.length]}, line ${line}`),
      what: (unit) =>
        tokenizer === undefined
          ? 'reading token ids'
          : unit && unit[0] >= paths.length
            ? `the chat template beside ${tokenizer}`
            : `the tokenizer ${tokenizer}`,
      wayOut: 'shorten the text, or look for what makes it slow or long',
      onWarning: (text) =>
        warnings.push(warn('WARN_VERTEXQ_TOKENIZER', `The tokenizer ${tokenizer}: ${text}`)),
      onPart: ({ ids, lengths, documents }: EncodedTexts) => {
        // As ids, and in tensors of at most eight bytes a token.
        bytes += ids.byteLength * (1 + Object.keys(tokenInputs).length);
        requireMemory(bytes, 'the texts');
        let at = 0;
        for (const [i, length] of lengths.entries())
          windows.push({ document: documents[i]!, ids: ids.subarray(at, (at += length)) });
      },
    },
  )) as Awaited<ReturnType<typeof encodeTexts>>;
  warnings.push(...skippedWarnings(skipped, documents, 'lines'));
  if (windows.length === 0) throw calibrationError(paths.join(', '), 'has no text');
  return { windows: fairShare(windows, samples), padId, warnings };
}

/** At most `most` windows, of each document as many as of any other that has them. */
export function fairShare(windows: readonly Window[], most: number): Window[] {
  if (windows.length <= most) return [...windows];
  const counts = new Map<number, number>();
  for (const { document } of windows) counts.set(document, (counts.get(document) ?? 0) + 1);
  // What is left is for those that have more than the others got, which get one more or none.
  let [share, left, others] = [0, most, counts.size];
  for (const count of [...counts.values()].sort((a, b) => a - b)) {
    if ((count - share) * others > left) {
      share += Math.floor(left / others);
      left %= others;
      break;
    }
    left -= (count - share) * others;
    share = count;
    others--;
  }
  const getsMore = spread(left, others);
  const taken = new Map<number, () => boolean>();
  for (const [document, count] of counts)
    taken.set(document, spread(count <= share ? count : share + Number(getsMore()), count));
  return windows.filter(({ document }) => taken.get(document)!());
}

/**
 * Texts as what the network's inputs are fed. Rejects as `readWindows`, and with ERR_VERTEXQ_UNSUPPORTED where the network has others
 * than tokens fill.
 */
export async function readTexts(
  paths: readonly string[],
  inputs: readonly ModelInput[],
  options: WindowOptions,
  signal?: AbortSignal,
  limits = tokenizerLimits,
): Promise<Texts> {
  const filled = requireTokenInputs(inputs);
  const fixed = fixedLength(filled);
  const { sequenceLength } = options;
  if (fixed !== null && sequenceLength !== undefined && sequenceLength !== fixed)
    throw new RangeError(
      `The network takes ${fixed} tokens at once: leave the option "sequenceLength" out, or make it ${fixed}, not ${sequenceLength}`,
    );
  const read = await readWindows(paths, { ...options, most: fixed ?? undefined }, signal, limits);
  const { padId, warnings } = read;
  let { windows } = read;
  if (fixed !== null && sequenceLength !== undefined) {
    windows = windows.filter(({ ids }) => ids.length === fixed);
    const shorter = read.windows.length - windows.length;
    const left = `${shorter} of ${read.windows.length} windows are shorter than the ${fixed} tokens that the network takes`;
    if (windows.length === 0) throw calibrationError(paths.join(', '), left);
    if (shorter > 0)
      warnings.push(warn('WARN_VERTEXQ_DATA_LEFT_OUT', `${paths.join(', ')}: ${left}, and left out`));
  }
  const placed = windows
    .map(({ document, ids }, place) => [document, place, ids] as const)
    .sort(([, , a], [, , b]) => a.length - b.length);
  const padding = new Map(filled.map(({ name }) => [name, name === 'input_ids' ? padId : 0]));
  // Windows are not filled up, and without a mask the network would take what fills up for text.
  const isPadded = sequenceLength === undefined && filled.some(({ name }) => name === 'attention_mask');
  const pieces: Piece[] = [];
  const turns = new Turns(signal);
  for (const [document, place, ids] of placed) {
    const tokens = ids.length;
    pieces.push({ ...pieceOf(ids, filled, padding, fixed ?? tokens), window: { document, place, tokens } });
    if (turns.due) await turns.next();
  }
  return { pieces, padding: isPadded ? padding : null, warnings };
}

function pieceOf(ids: Float64Array, filled: readonly ModelInput[], padding: Padding, length: number): Piece {
  const tensors = new Map<string, CheckedTensor>();
  for (const { name, type } of filled) {
    const values = Array.from(tokenInputs[name]!(ids));
    while (values.length < length) values.push(padding.get(name)!);
    tensors.set(name, integerTensor(type, values, [1, length]));
  }
  return { tensors, samples: 1 };
}

/** The inputs that texts fill. */
function requireTokenInputs(inputs: readonly ModelInput[]): ModelInput[] {
  const known = inputs.filter(({ name }) => Object.hasOwn(tokenInputs, name));
  const made = new Set(madeInputs(inputs, new Set(known.map(({ name }) => name))));
  const others = inputs.filter((input) => !known.includes(input) && !made.has(input));
  if (others.length > 0 || !known.some(({ name }) => name === 'input_ids'))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `Text fills the inputs ${Object.keys(tokenInputs).join(', ')}, and the network has ` +
        `${
          others.length > 0
            ? others
                .map(({ name }) => describe(name))
                .slice(0, 10)
                .join(', ')
            : 'no input_ids'
        }: ` +
        'give tensors by input name, in an .npz, .safetensors or .jsonl file',
    );
  for (const { name, type, dims } of known)
    if (!isTokenType(type) || (dims !== null && dims.length !== 2))
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `Text fills inputs of int64 or int32 with two dimensions, [samples, tokens], and the network's ${describe(name)} is ${type}` +
          `${dims === null ? '' : `[${dims.map((dim) => dim ?? '?').join(', ')}]`}: give tensors by input name`,
      );
  return known;
}

/** How many tokens the network takes, where it fixes that. */
function fixedLength(filled: readonly ModelInput[]): number | null {
  const fixed = filled.flatMap(({ dims }) => {
    const length = dims?.[1];
    return typeof length === 'number' && length > 0 ? [length] : [];
  });
  if (new Set(fixed).size > 1)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `The network's inputs ${filled.map(({ name }) => describe(name)).join(', ')} have different fixed lengths: give tensors by input name`,
    );
  return fixed[0] ?? null;
}
