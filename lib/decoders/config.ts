import { VertexqError } from '../errors';
import { describe } from '../options/messages';

type Fields = Readonly<Record<string, unknown>>;

/** Keys of a config that say nothing of what the network computes. */
const harmless: ReadonlySet<string> = new Set([
  ...[
    '_name_or_path',
    '_model_name_or_path',
    '_attn_implementation',
    'architectures',
    'auto_map',
    'model_type',
    'transformers_version',
  ],
  ...[
    'torch_dtype',
    'dtype',
    'use_cache',
    'cache_implementation',
    'unsloth_version',
    'unsloth_fixed',
    'is_decoder',
  ],
  ...['attention_dropout', 'attn_pdrop', 'embd_pdrop', 'resid_pdrop', 'hidden_dropout', 'embd_dropout'],
  ...[
    'initializer_range',
    'router_aux_loss_coef',
    'output_router_logits',
    'router_jitter_noise',
    'gradient_checkpointing',
  ],
  ...[
    'output_attentions',
    'output_hidden_states',
    'return_dict',
    'use_return_dict',
    'chunk_size_feed_forward',
    'is_encoder_decoder',
  ],
  ...[
    'id2label',
    'label2id',
    'problem_type',
    'task_specific_params',
    'name',
    'is_llama_config',
    'transformers.js_config',
  ],
  ...[
    'summary_activation',
    'summary_first_dropout',
    'summary_proj_to_labels',
    'summary_type',
    'summary_use_proj',
  ],
  ...[
    'max_length',
    'min_length',
    'do_sample',
    'temperature',
    'top_k',
    'top_p',
    'suppress_tokens',
    'prefix',
    'tokenizer_class',
  ],
  ...['num_beams', 'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size', 'bad_words_ids'],
]);
/** bos_token_id and the like. */
const tokenKey = /_token(_id|_index|s)?$/;

/** A config.json, read key by key: what is not there, or of another kind, is an error with its name; what nobody asked for can be told. */
export class ConfigReader {
  private readonly asked = new Set<string>();

  /** `path`: of the file and the object in it, for messages. */
  constructor(
    readonly path: string,
    private readonly fields: Fields,
  ) {}

  /** Whether a key is there and not null. */
  has(key: string): boolean {
    this.asked.add(key);
    return Object.hasOwn(this.fields, key) && this.fields[key] !== null;
  }

  /** A whole number of at least `least`. */
  count(key: string, fallback?: number, least = 1): number {
    const value = this.valueOf(key, fallback);
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value;
    throw this.wrong(key, `a whole number of at least ${least}`);
  }

  /** A finite number. */
  number(key: string, fallback?: number): number {
    const value = this.valueOf(key, fallback);
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    throw this.wrong(key, 'a number');
  }

  flag(key: string, fallback?: boolean): boolean {
    const value = this.valueOf(key, fallback);
    if (typeof value === 'boolean') return value;
    throw this.wrong(key, 'true or false');
  }

  text(key: string, fallback?: string): string {
    const value = this.valueOf(key, fallback);
    if (typeof value === 'string') return value;
    throw this.wrong(key, 'a string');
  }

  /** A list of numbers, of `length` entries where that is given. */
  numbers(key: string, length?: number): number[] {
    const value = this.valueOf(key, undefined);
    const expected = `${length === undefined ? 'a list of' : `${length}`} numbers`;
    if (!Array.isArray(value) || (length !== undefined && value.length !== length))
      throw this.wrong(key, expected);
    if (!value.every((entry) => typeof entry === 'number' && Number.isFinite(entry)))
      throw this.wrong(key, expected);
    return value as number[];
  }

  /** A list of strings, of `length` entries. */
  texts(key: string, length: number): string[] {
    const value = this.valueOf(key, undefined);
    if (Array.isArray(value) && value.length === length && value.every((entry) => typeof entry === 'string'))
      return value;
    throw this.wrong(key, `${length} strings`);
  }

  /** An object in it. */
  object(key: string): ConfigReader {
    const value = this.valueOf(key, undefined);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return new ConfigReader(`${this.path} "${key}"`, value as Fields);
    throw this.wrong(key, 'an object');
  }

  /** The keys that are there. */
  get keys(): readonly string[] {
    return Object.keys(this.fields);
  }

  /** Takes keys for known whose values are nothing to this network. */
  ignore(keys: readonly string[]): void {
    for (const key of keys) this.asked.add(key);
  }

  /** Keys that nobody has asked for, and that may mean something. */
  get unknown(): string[] {
    return this.keys.filter(
      (key) => !this.asked.has(key) && !harmless.has(key) && !tokenKey.test(key) && this.fields[key] !== null,
    );
  }

  /** An error about a key. */
  wrong(key: string, expected: string): VertexqError {
    const value = Object.hasOwn(this.fields, key) ? describe(this.fields[key]) : 'nothing';
    return new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${this.path}: "${key}" should be ${expected}, and is ${value}`,
    );
  }

  private valueOf(key: string, fallback: unknown): unknown {
    return this.has(key) ? this.fields[key] : fallback;
  }
}
