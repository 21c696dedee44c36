import { VertexqError } from '../../../errors';
import { describe } from '../../../options/messages';
import { framed, ofPieces, spaceMark, tokenTypes } from '../piece-tokenizer';
import { readSentencePieces } from './read';

type Fields = Record<string, unknown>;

/** A token that a folder adds to those of its SentencePiece model. */
interface Added {
  id: number;
  content: string;
  special: boolean;
}

const specials = ['bos', 'eos', 'unk', 'pad'] as const;

/** Whether a tokenizer is a SentencePiece model, by its name. */
export const isSentencePiece = (path: string): boolean => /\.model$/i.test(path);

/**
 * A tokenizer.model as the tokenizer.json and tokenizer_config.json that say the same, with the tokens that `config`, the folder's tokenizer_config.json, and
 * `added`, its added_tokens.json, add to its own. Rejects as `readSentencePieces`, and with ERR_VERTEXQ_TOKENIZER at tokens in the way of others.
 */
export async function sentencePieceDocuments(
  path: string,
  config: Fields,
  added: Fields,
): Promise<{ tokenizer: Fields; config: Fields }> {
  const { tokens, scores, types, prefix, ids } = await readSentencePieces(path);
  const unknown = ids.unk ?? undefined;
  const kind = ofPieces(tokens, (id) => types[id]!, scores, prefix, unknown);
  const all = new Map(tokens.map((token, id) => [id, spaced(token, types[id]!)]));
  const own: Added[] = tokens.flatMap((content, id) =>
    types[id] === tokenTypes.control || types[id] === tokenTypes.userDefined
      ? [{ id, content: spaced(content, types[id]), special: types[id] === tokenTypes.control }]
      : [],
  );
  const known = new Set(own.map(({ id }) => id));
  for (const token of addedBy(path, config, added)) {
    const there = all.get(token.id);
    if (there !== undefined && there !== token.content && tokens[token.id] !== token.content)
      throw new VertexqError(
        'ERR_VERTEXQ_TOKENIZER',
        `${path}: token ${token.id} is ${describe(there)}, and ${describe(token.content)} in the files beside it`,
      );
    if (there === undefined) all.set(token.id, token.content);
    if (known.has(token.id)) continue;
    known.add(token.id);
    own.push(token);
  }
  const name = (own: (typeof specials)[number]): string | null => {
    const given = config[`${own}_token`];
    const text = isFields(given) ? given['content'] : given;
    if (typeof text === 'string') return text;
    const id = ids[own];
    return id === null || given === null ? null : tokens[id]!;
  };
  const flag = (key: string, fallback: boolean) =>
    typeof config[key] === 'boolean' ? config[key] : fallback;
  const begin = flag('add_bos_token', true) ? name('bos') : null;
  const end = flag('add_eos_token', false) ? name('eos') : null;
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const vocab = Object.fromEntries(
    tokens.flatMap((token, id) => (types[id] === tokenTypes.unused ? [] : [[token, id] as const])),
  );
  const numbers = new Map([...all].map(([id, token]) => [token, id]));
  const named = specials.flatMap((own) => {
    const token = name(own);
    return token === null ? [] : [[`${own}_token`, token] as const];
  });
  return {
    tokenizer: {
      ...{ version: '1.0', truncation: null, padding: null },
      added_tokens: own.sort((a, b) => a.id - b.id).map((token) => ({ ...token, ...flags })),
      normalizer: kind.normalizer,
      pre_tokenizer: kind.preTokenizer,
      post_processor: framed(begin, end, (token) => numbers.get(token) ?? 0),
      decoder: kind.decoder,
      model: {
        ...{ type: 'BPE', dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null },
        ...{ ignore_merges: false, ...kind.model, vocab },
      },
    },
    config: { ...config, ...Object.fromEntries(named) },
  };
}

/** What is found in texts before their spaces are replaced has spaces. */
const spaced = (token: string, type: number) =>
  type === tokenTypes.userDefined ? token.replaceAll(spaceMark, ' ') : token;

/** The tokens of tokenizer_config.json ("added_tokens_decoder") and added_tokens.json. */
function* addedBy(path: string, config: Fields, added: Fields): Generator<Added> {
  const wrong = (id: unknown, content: unknown) =>
    new VertexqError(
      'ERR_VERTEXQ_TOKENIZER',
      `${path}: beside it is the token ${describe(content)} with the number ${describe(id)}`,
    );
  const decoder = config['added_tokens_decoder'];
  const listed = [
    ...Object.entries(isFields(decoder) ? decoder : {}).map(([id, token]) => {
      const fields = isFields(token) ? token : {};
      return [Number(id), fields['content'], fields['special'] === true] as const;
    }),
    ...Object.entries(added).map(([content, id]) => [id, content, false] as const),
  ];
  for (const [id, content, special] of listed) {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 24 || typeof content !== 'string' || content === '')
      throw wrong(id, content); // prettier-ignore
    yield { id: id as number, content, special };
  }
}

const isFields = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
