import { VertexqError } from '../../errors';
import type { GgufFile } from '../../containers/gguf/file';
import { framed, ofPieces, type TokenizerKind, tokenTypes } from '../../models/data/piece-tokenizer';
import { describe } from '../../options/messages';
import { splittings } from './splitting';

type Fields = Record<string, unknown>;

/** The files of a folder that tell of a tokenizer, by name: what they hold. */
export type TokenizerDocuments = Readonly<Record<'tokenizer.json' | 'tokenizer_config.json', Fields>>;

const names = { bos: 'bos', eos: 'eos', unk: 'unknown', pad: 'padding' } as const;

/** The tokenizer in a GGUF file as others have it. Throws ERR_VERTEXQ_TOKENIZER where it is none that is known. */
export function tokenizerDocuments({ header: { metadata }, path }: GgufFile): TokenizerDocuments {
  const wrong = (key: string, expected: string) =>
    new VertexqError('ERR_VERTEXQ_TOKENIZER', `${path}: "${key}" should be ${expected}, and is ${describe(metadata.get(key))}: give the option "tokenizer" (--tokenizer)`); // prettier-ignore
  const get = (key: string) => metadata.get(`tokenizer.ggml.${key}`);
  const texts = (key: string): readonly string[] => {
    const value: unknown = get(key);
    if (Array.isArray(value)) return value as string[];
    throw wrong(`tokenizer.ggml.${key}`, 'a list of texts');
  };
  const tokens = texts('tokens');
  const types = get('token_type') as ArrayLike<number> | undefined;
  const typeOf = (id: number) => types?.[id] ?? tokenTypes.normal;
  const idOf = (own: keyof typeof names): number | undefined => {
    const id = get(`${names[own]}_token_id`);
    if (id === undefined) return undefined;
    if (typeof id === 'number' && tokens[id] !== undefined) return id;
    throw wrong(`tokenizer.ggml.${names[own]}_token_id`, 'the number of a token');
  };
  const vocab = Object.fromEntries(
    tokens.flatMap((token, id) => (typeOf(id) === tokenTypes.unused ? [] : [[token, id] as const])),
  );
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  const added = tokens.flatMap((content, id) =>
    typeOf(id) === tokenTypes.control || typeOf(id) === tokenTypes.userDefined
      ? [{ id, content, ...flags, special: typeOf(id) === tokenTypes.control }]
      : [],
  );
  const model = get('model');
  const unknown = idOf('unk');
  const kind =
    model === 'gpt2'
      ? ofBytes(get('pre'), texts('merges'), (expected) => wrong('tokenizer.ggml.pre', expected))
      : model === 'llama'
        ? ofPieces(
            tokens,
            typeOf,
            get('scores') as ArrayLike<number> | undefined,
            get('add_space_prefix') !== false,
            unknown,
          )
        : undefined;
  if (!kind) throw wrong('tokenizer.ggml.model', '"gpt2" or "llama"');
  const flag = (key: string, fallback: boolean) => (get(key) === undefined ? fallback : get(key) === true);
  const [bos, eos] = [idOf('bos'), idOf('eos')];
  const [begins, ends] = [flag('add_bos_token', kind.begins) && bos !== undefined, flag('add_eos_token', false) && eos !== undefined]; // prettier-ignore
  const special = (Object.keys(names) as (keyof typeof names)[]).flatMap((own) => {
    const id = idOf(own);
    return id === undefined ? [] : [[`${own}_token`, tokens[id]] as const];
  });
  const template = metadata.get('tokenizer.chat_template');
  return {
    'tokenizer.json': {
      ...{ version: '1.0', truncation: null, padding: null, added_tokens: added },
      normalizer: kind.normalizer,
      pre_tokenizer: kind.preTokenizer,
      post_processor: framed(begins ? tokens[bos!]! : null, ends ? tokens[eos!]! : null, (token) => tokens.indexOf(token)), // prettier-ignore
      decoder: kind.decoder,
      model: {
        ...{ type: 'BPE', dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null },
        ...{
          unk_token: null,
          fuse_unk: false,
          byte_fallback: false,
          ignore_merges: false,
          ...kind.model,
          vocab,
        },
      },
    },
    'tokenizer_config.json': {
      tokenizer_class: 'PreTrainedTokenizerFast',
      ...Object.fromEntries(special),
      ...{ add_bos_token: begins, add_eos_token: ends, clean_up_tokenization_spaces: false },
      ...(typeof template === 'string' && { chat_template: template }),
    },
  };
}

function ofBytes(
  pre: unknown,
  merges: readonly string[],
  wrong: (expected: string) => VertexqError,
): TokenizerKind {
  const row = splittings.find((own) => own.pre === pre || own.also?.includes(pre as string));
  if (!row) throw wrong(`one of ${splittings.flatMap((own) => [own.pre, ...(own.also ?? [])]).join(', ')}`);
  const [normalizer = null] = row.normalizers;
  return {
    normalizer: normalizer === null ? null : { type: normalizer },
    preTokenizer: row.preTokenizer,
    decoder: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { merges, ignore_merges: row.ignoresMerges },
    begins: row.pre === 'llama-bpe',
  };
}
