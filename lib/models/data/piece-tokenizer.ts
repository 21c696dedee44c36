// Tokenizers of pieces with scores, as SentencePiece has them, the way a tokenizer.json tells of them.

type Fields = Record<string, unknown>;

/** What stands for a space. */
export const spaceMark = '▁';

/** The types of tokens, by the numbers that files have for them. */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The parts of a tokenizer.json that differ from kind to kind. */
export interface TokenizerKind {
  normalizer: Fields | null;
  preTokenizer: Fields | null;
  decoder: Fields;
  model: Fields;
  /** Whether a text gets a beginning where no key says so. */
  begins: boolean;
}

/** Tokens by their numbers, with types and scores; `prefix`: whether a text gets a space before it. Of any two neighbours that make a piece the one with the highest score is joined first. */
export function ofPieces(
  tokens: readonly string[],
  typeOf: (id: number) => number,
  scores: ArrayLike<number> | undefined,
  prefix: boolean,
  unknown: number | undefined,
): TokenizerKind {
  const ids = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (typeOf(id) === tokenTypes.normal) ids.set(token, id);
  const merges: { left: string; right: string; score: number; id: number }[] = [];
  for (const [token, id] of ids) {
    const letters = [...token];
    for (let cut = 1; cut < letters.length; cut++) {
      const [left, right] = [letters.slice(0, cut).join(''), letters.slice(cut).join('')];
      if (ids.has(left) && ids.has(right)) merges.push({ left, right, score: scores?.[id] ?? 0, id });
    }
  }
  merges.sort((a, b) => b.score - a.score || a.id - b.id);
  const replace = { type: 'Replace', pattern: { String: ' ' }, content: spaceMark };
  const prepend = { type: 'Prepend', prepend: spaceMark };
  const back = { type: 'Replace', pattern: { String: spaceMark }, content: ' ' };
  const strip = { type: 'Strip', content: ' ', start: 1, stop: 0 };
  const decoders = [back, { type: 'ByteFallback' }, { type: 'Fuse' }, ...(prefix ? [strip] : [])];
  return {
    normalizer: prefix ? { type: 'Sequence', normalizers: [prepend, replace] } : replace,
    preTokenizer: null,
    decoder: { type: 'Sequence', decoders },
    model: {
      merges: merges.map(({ left, right }) => [left, right]),
      ...{ byte_fallback: true, fuse_unk: true, unk_token: unknown === undefined ? null : tokens[unknown] },
    },
    begins: true,
  };
}

/** The post-processor that puts a token before a text, and one behind it; null for neither. */
export function framed(
  begin: string | null,
  end: string | null,
  idOf: (token: string) => number,
): Fields | null {
  if (begin === null && end === null) return null;
  const token = (name: string | null, type: number) => (name === null ? [] : [{ SpecialToken: { id: name, type_id: type } }]); // prettier-ignore
  const of = (id: string, type: number) => [...token(begin, type), { Sequence: { id, type_id: type } }, ...token(end, type)]; // prettier-ignore
  const special = [begin, end].filter((name) => name !== null);
  return {
    type: 'TemplateProcessing',
    single: of('A', 0),
    pair: [...of('A', 0), ...of('B', 1)],
    special_tokens: Object.fromEntries(special.map((id) => [id, { id, ids: [idOf(id)], tokens: [id] }])),
  };
}
