import type { OpenDecoder } from '../../decoders/open';
import { VertexqError } from '../../errors';
import type { LanguageModel } from './language-model';

/** A network of those that are judged. */
export interface Side {
  model: LanguageModel;
  decoder: OpenDecoder;
}

/** Throws ERR_VERTEXQ_UNSUPPORTED where networks take other tokens, or make logits in another way. */
export function requireAlike([float, ...others]: readonly Side[]): void {
  const { model, decoder } = float!;
  const numbers = ({ hidden, vocabulary, scale, softCap }: OpenDecoder['shape']) =>
    Object.entries({
      ...{ 'a vocabulary of': vocabulary, 'a hidden size of': hidden },
      ...{ 'logits scaled by': scale.logits, 'logits capped at': softCap.logits },
    });
  const wanted = numbers(decoder.shape);
  for (const other of others)
    for (const [i, [what, value]] of numbers(other.decoder.shape).entries())
      if (value !== wanted[i]![1])
        throw new VertexqError(
          'ERR_VERTEXQ_UNSUPPORTED',
          `${other.model.path} has ${what} ${value}, and ${model.path} of ${wanted[i]![1]}: it was not made of it`,
        );
}
