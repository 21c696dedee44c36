// How byte-level tokenizers split texts before they merge bytes: what tokenizer.json has, and what GGUF files call it
// (`tokenizer.ggml.pre`). A name is written only where all of it is as the row says.

type Fields = Record<string, unknown>;

export interface Splitting {
  pre: string;
  /** What else it is called, of which llama.cpp makes the same. */
  also?: readonly string[];
  /** `pre_tokenizer` of tokenizer.json. */
  preTokenizer: Fields;
  /** `normalizer` of tokenizer.json: others than these are refused. GGUF's readers have none. */
  normalizers: readonly (string | null)[];
  /** Whether a word that is a token is one, whatever merges say. */
  ignoresMerges: boolean;
}

const byteLevel = (splits: boolean) => ({ type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: splits }); // prettier-ignore
const sequence = (...pretokenizers: Fields[]) => ({ type: 'Sequence', pretokenizers });
const split = (pattern: string) => ({
  ...{ type: 'Split', pattern: { Regex: pattern }, behavior: 'Isolated', invert: false },
});
const words = (digits: string) =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

export const splittings: readonly Splitting[] = [
  {
    pre: 'gpt-2',
    also: ['phi-2', 'mpt', 'olmo', 'jais'],
    preTokenizer: byteLevel(true),
    normalizers: [null],
    ignoresMerges: false,
  },
  {
    pre: 'smollm',
    also: ['refact', 'starcoder', 'command-r', 'codeshell', 'exaone'],
    preTokenizer: sequence({ type: 'Digits', individual_digits: true }, byteLevel(true)),
    normalizers: [null],
    ignoresMerges: false,
  },
  {
    pre: 'llama-bpe',
    also: ['llama3', 'llama-v3'],
    preTokenizer: sequence(split(words('\\p{N}{1,3}')), byteLevel(false)),
    normalizers: [null],
    ignoresMerges: true,
  },
  {
    pre: 'smaug-bpe',
    also: ['dbrx'],
    preTokenizer: sequence(split(words('\\p{N}{1,3}')), byteLevel(false)),
    normalizers: [null],
    ignoresMerges: false,
  },
  {
    pre: 'qwen2',
    also: ['deepseek-r1-qwen', 'stablelm2'],
    preTokenizer: sequence(split(words('\\p{N}')), byteLevel(false)),
    normalizers: ['NFC', null],
    ignoresMerges: false,
  },
];

/** What of a pre-tokenizer decides how texts are split: offsets are for others. */
function essence(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(essence);
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value as Fields)
    .filter(([key]) => key !== 'trim_offsets')
    .map(([key, own]) => [key, essence(own)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The row of a tokenizer; undefined where none is. */
export function splittingOf(
  preTokenizer: unknown,
  normalizer: unknown,
  ignoresMerges: boolean,
): Splitting | undefined {
  const wanted = JSON.stringify(essence(preTokenizer));
  const type = normalizer === null || normalizer === undefined ? null : (normalizer as Fields)['type'];
  return splittings.find(
    (row) =>
      JSON.stringify(essence(row.preTokenizer)) === wanted &&
      row.normalizers.includes(type as string | null) &&
      row.ignoresMerges === ignoresMerges,
  );
}
