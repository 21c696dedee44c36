import { join } from 'node:path';
import { VertexqError } from '../../errors';
import { readFolderFile } from '../../files/folder-file';
import type { LanguageModel } from './language-model';

const fileName = 'tokenizer.json';
/** More than any tokenizer's. */
const maxBytes = 2 ** 28;

/** Throws ERR_VERTEXQ_UNSUPPORTED where folders hold tokenizers that give other tokens: perplexities of different ones cannot be compared. */
export async function requireSameTokenizer(
  [float, ...others]: readonly LanguageModel[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = await read(float!);
  if (!wanted) return;
  for (const other of others) {
    signal?.throwIfAborted();
    const own = await read(other);
    if (!own || own.equals(wanted) || coreOf(own) === coreOf(wanted)) continue;
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${join(other.folder!, fileName)} is another tokenizer than ${join(float!.folder!, fileName)}: the checkpoints cannot be compared`,
    );
  }
}

async function read({ folder }: LanguageModel): Promise<Buffer | undefined> {
  const bytes = folder === null ? undefined : await readFolderFile(folder, fileName, maxBytes);
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** What makes tokens of text, apart from how the file is written. */
function coreOf(bytes: Buffer): string {
  try {
    const { model, added_tokens, normalizer, pre_tokenizer } = JSON.parse(bytes.toString()) as Record<
      string,
      unknown
    >;
    return JSON.stringify([model, added_tokens, normalizer, pre_tokenizer]);
  } catch {
    return bytes.toString();
  }
}
