import { VertexqError } from '../../errors';
import type { LanguageModel } from './language-model';

type Own = NonNullable<Awaited<ReturnType<LanguageModel['tokenizer']>>>;

/** Throws ERR_VERTEXQ_UNSUPPORTED where models have tokenizers that give other tokens: perplexities of different ones cannot be compared. */
export async function requireSameTokenizer(
  [float, ...others]: readonly LanguageModel[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = await float!.tokenizer();
  if (!wanted) return;
  for (const other of others) {
    signal?.throwIfAborted();
    const own = await other.tokenizer();
    if (!own || isSame(own, wanted)) continue;
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${own.path} ${own.isMade ? 'has' : 'is'} another tokenizer than ${wanted.path}${wanted.isMade ? ' has' : ''}: the checkpoints cannot be compared`,
    );
  }
}

/** A GGUF file has tokens, and how they are found only in its own words: those that both know must be the same. */
function isSame(own: Own, wanted: Own): boolean {
  if (own.bytes.equals(wanted.bytes)) return true;
  if (own.isMade === wanted.isMade) return coreOf(own.bytes) === coreOf(wanted.bytes);
  const [one, other] = [tokensOf(own.bytes), tokensOf(wanted.bytes)];
  return (
    one !== undefined &&
    other !== undefined &&
    [...one].every(([id, text]) => (other.get(id) ?? text) === text)
  );
}

type Fields = Readonly<Record<string, unknown>>;

function parsed(bytes: Buffer): Fields | undefined {
  try {
    return JSON.parse(bytes.toString()) as Fields;
  } catch {
    return undefined;
  }
}

/** What makes tokens of text, apart from how the file is written. */
function coreOf(bytes: Buffer): string {
  const fields = parsed(bytes);
  if (!fields) return bytes.toString();
  const { model, added_tokens, normalizer, pre_tokenizer } = fields;
  return JSON.stringify([model, added_tokens, normalizer, pre_tokenizer]);
}

function tokensOf(bytes: Buffer): Map<number, string> | undefined {
  const fields = parsed(bytes);
  const vocab = (fields?.['model'] as Fields | undefined)?.['vocab'];
  if (typeof vocab !== 'object' || vocab === null) return undefined;
  const added = (fields!['added_tokens'] ?? []) as { id: number; content: string }[];
  // A list has pairs of a token and its score.
  const pairs = Array.isArray(vocab)
    ? vocab.map((entry, id) => [id, String((entry as unknown[])[0])] as const)
    : Object.entries(vocab).map(([text, id]) => [Number(id), text] as const);
  return new Map([...pairs, ...added.map(({ id, content }) => [id, content] as const)]);
}
