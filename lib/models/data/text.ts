import { VertexqError } from '../../errors';
import { describe } from '../../options';
import type { DataOptions } from '../types';
import { integerTensor, isTokenType } from './integers';
import { forEachLine, parseLine } from './json-lines';
import { madeInputs } from './made-inputs';
import type { Padding, Piece } from './samples';
import { calibrationError, type CheckedTensor, type ModelInput } from './tensor-checks';
import { loadTokenizer } from './tokenizer';

// Texts as samples: tokenized, in the order of their length, so that those which are padded to one length hardly differ.

/** What a text fills, and how a place is filled up that no token is at. */
const tokenInputs: Record<string, (ids: readonly number[]) => ArrayLike<number>> = {
  input_ids: (ids) => ids,
  attention_mask: ({ length }) => new Uint8Array(length).fill(1),
  token_type_ids: ({ length }) => new Uint8Array(length),
  position_ids: ({ length }) => Int32Array.from({ length }, (_, i) => i),
};

export interface Texts {
  pieces: Piece[];
  padding: Padding | null;
}

/**
 * Reads text files, `.txt` with a text a line or `.jsonl`, and tokenizes them for the network's inputs. Rejects with
 * ERR_VERTEXQ_UNSUPPORTED where the network has others than tokens fill, ERR_VERTEXQ_CALIBRATION at a line that is no text.
 */
export async function readTexts(
  paths: readonly string[],
  inputs: readonly ModelInput[],
  { tokenizer, maxLength, textField = 'text' }: DataOptions,
  signal?: AbortSignal,
): Promise<Texts> {
  const filled = requireTokenInputs(inputs);
  const fixed = fixedLength(filled);
  const encoder = await loadTokenizer(tokenizer!, maxLength, fixed ?? Infinity);
  const texts: number[][] = [];
  for (const path of paths)
    await forEachLine(
      path,
      (line, where) => {
        const text = /\.txt$/i.test(path) ? line : textOf(parseLine(line, where), textField, where);
        const ids = encoder.encode(text);
        if (ids.length > 0) texts.push(ids);
      },
      signal,
    );
  if (texts.length === 0) throw calibrationError(paths.join(', '), 'has no text');
  texts.sort((a, b) => a.length - b.length);
  const padding = new Map(filled.map(({ name }) => [name, name === 'input_ids' ? encoder.padId : 0]));
  // Without a mask the network would take what fills up for text.
  const isMasked = filled.some(({ name }) => name === 'attention_mask');
  return {
    pieces: texts.map((ids) => pieceOf(ids, filled, padding, fixed ?? ids.length)),
    padding: isMasked ? padding : null,
  };
}

function pieceOf(
  ids: readonly number[],
  filled: readonly ModelInput[],
  padding: Padding,
  length: number,
): Piece {
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
