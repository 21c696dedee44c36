import { VertexqError } from '../../errors';
import { requireMemory } from '../../files/input-file';
import { describe } from '../../options/messages';
import { isolated } from '../../workers/isolated';
import { Turns } from '../../yielding';
import type { DataOptions } from '../types';
import { integerTensor, isTokenType } from './integers';
import { madeInputs } from './made-inputs';
import type { Padding, Piece } from './samples';
import { calibrationError, type CheckedTensor, type ModelInput } from './tensor-checks';
import type { EncodedTexts, TextTask } from './text-task';
import { tokenizerPath } from './tokenizer';

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
  /** What the tokenizers library said. */
  warnings: string[];
}

/** What a tokenizer may take. A text of the longest that are taken takes milliseconds, the largest tokenizers some seconds to load. */
const tokenizerLimits = { seconds: 20, heap: 4096 };

/**
 * Reads text files, `.txt` with a text a line or `.jsonl`, and tokenizes them for the network's inputs, in a process of its own.
 * Rejects with ERR_VERTEXQ_UNSUPPORTED where the network has others than tokens fill, ERR_VERTEXQ_CALIBRATION at a line that is no
 * text, ERR_VERTEXQ_TIME and ERR_VERTEXQ_MEMORY at one that the tokenizer takes too long or too much memory for.
 */
export async function readTexts(
  paths: readonly string[],
  inputs: readonly ModelInput[],
  { tokenizer, maxLength, textField = 'text' }: DataOptions,
  signal?: AbortSignal,
  limits = tokenizerLimits,
): Promise<Texts> {
  const filled = requireTokenInputs(inputs);
  const fixed = fixedLength(filled);
  const texts: Float64Array[] = [];
  const warnings: string[] = [];
  const file = await tokenizerPath(tokenizer!);
  let bytes = 0;
  const { padId } = (await isolated(
    'texts',
    { paths, tokenizer: file, maxLength, most: fixed ?? Infinity, textField } satisfies TextTask,
    {
      ...limits,
      signal,
      nameOf: ([path, line]) => (line === 0 ? file : `${paths[path]}, line ${line}`),
      what: `the tokenizer ${file}`,
      wayOut: 'shorten the text, or look for what in the tokenizer makes it slow or long',
      onWarning: (text) => warnings.push(`The tokenizer ${file}: ${text}`),
      onPart: ({ ids, lengths }: EncodedTexts) => {
        // As ids, and in tensors of at most eight bytes a token.
        bytes += ids.byteLength * (1 + filled.length);
        requireMemory(bytes, 'the texts');
        let at = 0;
        for (const length of lengths) texts.push(ids.subarray(at, (at += length)));
      },
    },
  )) as { padId: number };
  if (texts.length === 0) throw calibrationError(paths.join(', '), 'has no text');
  texts.sort((a, b) => a.length - b.length);
  const padding = new Map(filled.map(({ name }) => [name, name === 'input_ids' ? padId : 0]));
  // Without a mask the network would take what fills up for text.
  const isMasked = filled.some(({ name }) => name === 'attention_mask');
  const pieces: Piece[] = [];
  const turns = new Turns(signal);
  for (const ids of texts) {
    pieces.push(pieceOf(ids, filled, padding, fixed ?? ids.length));
    if (turns.due) await turns.next();
  }
  return { pieces, padding: isMasked ? padding : null, warnings };
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
