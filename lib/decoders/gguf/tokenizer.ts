import { VertexqError } from '../../errors';
import type { GgufValue } from '../../containers/gguf/values';
import { spaceMark, tokenTypes } from '../../models/data/piece-tokenizer';
import { describe } from '../../options/messages';
import { splittingOf, splittings } from './splitting';

type Fields = Readonly<Record<string, unknown>>;

/** What a folder has of a tokenizer. */
export interface TokenizerFiles {
  /** Of tokenizer.json, for messages. */
  path: string;
  tokenizer: Fields;
  /** tokenizer_config.json. */
  config: Fields;
  /** chat_template.jinja. */
  template: string | undefined;
}

const text = (value: string): GgufValue => ({ type: 'text', value });
const flag = (value: boolean): GgufValue => ({ type: 'bool', value });
const fieldsOf = (value: unknown): Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

/**
 * The keys of a tokenizer with so many tokens, from tokenizer.json. Throws ERR_VERTEXQ_TOKENIZER, with what it is, where there is something that such
 * files do not tell.
 */
export function tokenizerKeys(files: TokenizerFiles, vocabulary: number): Map<string, GgufValue> {
  const { path, tokenizer } = files;
  const model = fieldsOf(tokenizer['model']);
  const wrong = (why: string) => new VertexqError('ERR_VERTEXQ_TOKENIZER', `${path} ${why}`);
  if (model['type'] !== 'BPE')
    throw wrong(`has a model of type ${describe(model['type'])}, and GGUF files here hold "BPE"`);
  for (const key of ['dropout', 'continuing_subword_prefix', 'end_of_word_suffix'])
    if (![null, undefined, '', 0].includes(model[key] as null))
      throw wrong(`has "${key}", which GGUF files do not tell`);
  const { tokens, types } = tokensOf(files, model, vocabulary, wrong);
  const merges = mergesOf(model, wrong);
  const kind = model['byte_fallback'] === true ? pieces(files, tokens, types, merges, wrong) : bytes(files, model, merges, wrong); // prettier-ignore
  const list = (values: readonly string[]): GgufValue => ({ type: 'array', of: 'text', values });
  const keys = new Map<string, GgufValue>([
    ['model', text(kind.model)],
    ['pre', text(kind.pre)],
    ['tokens', list(tokens)],
    ['token_type', { type: 'array', of: 'i32', values: types }],
    ...kind.keys,
    ...specialKeys(files, tokens, wrong),
  ]);
  const found = new Map([...keys].map(([key, value]) => [`tokenizer.ggml.${key}`, value]));
  const template = templateOf(files);
  if (template !== undefined) found.set('tokenizer.chat_template', text(template));
  return found;
}

type Wrong = (why: string) => VertexqError;

function tokensOf(
  { tokenizer }: TokenizerFiles,
  model: Fields,
  vocabulary: number,
  wrong: Wrong,
): { tokens: string[]; types: Int32Array } {
  const tokens: string[] = [];
  const types = new Int32Array(vocabulary).fill(tokenTypes.unused);
  const put = (id: unknown, token: unknown, type: number) => {
    if (!Number.isSafeInteger(id) || (id as number) < 0 || typeof token !== 'string')
      throw wrong(`has the token ${describe(token)} with the number ${describe(id)}`);
    if ((id as number) >= vocabulary)
      throw wrong(
        `has the token ${describe(token)} with the number ${String(id)}, and the network knows ${vocabulary}`,
      );
    tokens[id as number] = token;
    types[id as number] = type;
  };
  for (const [token, id] of Object.entries(fieldsOf(model['vocab']))) {
    const isByte = model['byte_fallback'] === true && /^<0x[0-9A-F]{2}>$/.test(token);
    put(id, token, isByte ? tokenTypes.byte : tokenTypes.normal);
  }
  for (const added of listOf(tokenizer['added_tokens']).map(fieldsOf))
    put(
      added['id'],
      added['content'],
      added['special'] === true ? tokenTypes.control : tokenTypes.userDefined,
    );
  const unknown = model['unk_token'];
  // Numbers that the network has an embedding for, and the tokenizer no text.
  for (let id = 0; id < vocabulary; id++) {
    if (tokens[id] !== undefined && tokens[id] === unknown) types[id] = tokenTypes.unknown;
    tokens[id] ??= `[PAD${id}]`;
  }
  const twice = tokens.length - new Set(tokens).size;
  if (twice > 0) throw wrong(`has ${twice} tokens twice`);
  return { tokens, types };
}

/** Each "left right". */
function mergesOf(model: Fields, wrong: Wrong): string[] {
  return listOf(model['merges']).map((merge) => {
    const parts = Array.isArray(merge)
      ? (merge as unknown[])
      : typeof merge === 'string'
        ? merge.split(' ')
        : [];
    if (
      parts.length !== 2 ||
      !parts.every((part) => typeof part === 'string' && part !== '' && !part.includes(' '))
    )
      throw wrong(`has the merge ${describe(merge)}, which is not of two parts without spaces`);
    return parts.join(' ');
  });
}

interface Kind {
  model: string;
  pre: string;
  keys: [string, GgufValue][];
}

/** Byte-level BPE. */
function bytes({ tokenizer }: TokenizerFiles, model: Fields, merges: readonly string[], wrong: Wrong): Kind {
  const found = splittingOf(
    tokenizer['pre_tokenizer'],
    tokenizer['normalizer'],
    model['ignore_merges'] === true,
  );
  if (!found)
    throw wrong(
      `splits texts in a way that has no name in GGUF files here (known: ${splittings.map(({ pre }) => pre).join(', ')}): ` +
        `its "pre_tokenizer" is ${JSON.stringify(tokenizer['pre_tokenizer'] ?? null)}, its "normalizer" ${JSON.stringify(tokenizer['normalizer'] ?? null)}, "ignore_merges" ${model['ignore_merges'] === true}`,
    );
  return { model: 'gpt2', pre: found.pre, keys: [['merges', { type: 'array', of: 'text', values: merges }]] };
}

/**
 * Pieces with bytes for what is none of them, as SentencePiece has them: of two neighbours those are joined first whose piece has the highest
 * score, so the place of the first merge that makes it, negative, is one.
 */
function pieces(
  { tokenizer }: TokenizerFiles,
  tokens: readonly string[],
  types: Int32Array,
  merges: readonly string[],
  wrong: Wrong,
): Kind {
  const prefix = prefixOf(tokenizer, wrong);
  const places = new Map<string, number>();
  for (const [place, merge] of merges.entries()) {
    const piece = merge.replace(' ', '');
    if (!places.has(piece)) places.set(piece, place);
  }
  const scores = Float32Array.from(tokens, (token, id) =>
    types[id] === tokenTypes.normal ? -(places.get(token) ?? merges.length) : 0,
  );
  return {
    model: 'llama',
    pre: 'default',
    keys: [
      ['scores', { type: 'array', of: 'f32', values: scores }],
      ['add_space_prefix', flag(prefix)],
      ['remove_extra_whitespaces', flag(false)],
    ],
  };
}

/** Whether a text gets a space before it. Throws where spaces are treated otherwise than is known. */
function prefixOf(tokenizer: Fields, wrong: Wrong): boolean {
  const unlisted = (value: unknown, key: string): Fields[] => {
    const fields = fieldsOf(value);
    if (value === null || value === undefined) return [];
    return fields['type'] === 'Sequence' ? listOf(fields[key]).map(fieldsOf) : [fields];
  };
  const normalizers = unlisted(tokenizer['normalizer'], 'normalizers');
  const splitters = unlisted(tokenizer['pre_tokenizer'], 'pretokenizers');
  let prefix = false;
  for (const part of normalizers) {
    const isReplace = part['type'] === 'Replace' && fieldsOf(part['pattern'])['String'] === ' ' && part['content'] === spaceMark; // prettier-ignore
    const isPrepend = part['type'] === 'Prepend' && part['prepend'] === spaceMark;
    prefix ||= isPrepend;
    if (!isReplace && !isPrepend)
      throw wrong(`has the normalizer ${JSON.stringify(part)}, which GGUF files do not tell`);
  }
  for (const part of splitters) {
    const isSpaces = part['type'] === 'Split' && fieldsOf(part['pattern'])['String'] === ' ' && part['behavior'] === 'MergedWithPrevious'; // prettier-ignore
    const isMeta =
      part['type'] === 'Metaspace' && part['replacement'] === spaceMark && part['split'] === false;
    if (!isSpaces && !isMeta)
      throw wrong(`has the pre-tokenizer ${JSON.stringify(part)}, which GGUF files do not tell`);
    // What is replaced before has no spaces left to split at.
    if (isMeta) prefix ||= part['prepend_scheme'] !== 'never';
  }
  if (normalizers.length === 0 && splitters.length === 0)
    throw wrong(`leaves spaces as they are, and GGUF files have "${spaceMark}" for them`);
  return prefix;
}

/** Beginning, end and others, and whether texts get them. */
function specialKeys(
  { tokenizer, config }: TokenizerFiles,
  tokens: readonly string[],
  wrong: Wrong,
): [string, GgufValue][] {
  const keys: [string, GgufValue][] = [];
  const ids = new Map<string, number>();
  for (const [own, key] of [
    ['bos', 'bos'],
    ['eos', 'eos'],
    ['unk', 'unknown'],
    ['pad', 'padding'],
  ] as const) {
    const given = config[`${own}_token`];
    const token = typeof given === 'string' ? given : fieldsOf(given)['content'];
    if (token === undefined || token === null) continue;
    const id = tokens.indexOf(token as string);
    if (id < 0)
      throw wrong(`has no token ${describe(token)}, which tokenizer_config.json has for "${own}_token"`);
    ids.set(own, id);
    keys.push([`${key}_token_id`, { type: 'u32', value: id }]);
  }
  const { before, after } = frameOf(tokenizer, wrong);
  const isOf = (list: readonly string[], own: string) => list.length === 0 || (list.length === 1 && tokens.indexOf(list[0]!) === ids.get(own)); // prettier-ignore
  if (!isOf(before, 'bos') || !isOf(after, 'eos'))
    throw wrong(
      `puts ${describe([...before, ...after].join(' '))} around texts, and GGUF files can tell only of "bos_token" and "eos_token"`,
    );
  keys.push(['add_bos_token', flag(before.length > 0)], ['add_eos_token', flag(after.length > 0)]);
  return keys;
}

/** The tokens that a text gets before and behind it. */
function frameOf(tokenizer: Fields, wrong: Wrong): { before: string[]; after: string[] } {
  const processor = tokenizer['post_processor'];
  if (processor === null || processor === undefined) return { before: [], after: [] };
  const outer = fieldsOf(processor);
  const parts = outer['type'] === 'Sequence' ? listOf(outer['processors']).map(fieldsOf) : [outer];
  const found = { before: [] as string[], after: [] as string[] };
  for (const part of parts) {
    if (part['type'] === 'ByteLevel') continue;
    if (part['type'] !== 'TemplateProcessing')
      throw wrong(`has the post-processor ${describe(part['type'])}, which GGUF files do not tell`);
    let seen = false;
    for (const piece of listOf(part['single']).map(fieldsOf)) {
      if ('Sequence' in piece) seen = true;
      else (seen ? found.after : found.before).push(String(fieldsOf(piece['SpecialToken'])['id']));
    }
  }
  return found;
}

function templateOf({ config, template }: TokenizerFiles): string | undefined {
  if (template !== undefined) return template;
  const own = config['chat_template'];
  if (typeof own === 'string') return own;
  const named = listOf(own).map(fieldsOf);
  const found = (named.find(({ name }) => name === 'default') ?? named[0])?.['template'];
  return typeof found === 'string' ? found : undefined;
}
