import { evaluateCheckpoint } from './evaluate-checkpoint';
import type { EvaluateCheckpointOptions, LanguageEvaluation } from './types';

/**
 * The few numbers that tell how much a language model has lost: those of `evaluateCheckpoint`, which has standard errors, documents and several quantized
 * models besides, for one of them. Rejects as it does.
 */
export async function evaluateLanguageModel(
  float: string,
  quantized: string,
  options: EvaluateCheckpointOptions,
): Promise<LanguageEvaluation> {
  const { checkpoints, warnings } = await evaluateCheckpoint(float, quantized, options);
  const { tokens, perplexity, klDivergence, klDivergence999, sameNextToken } = checkpoints[0]!;
  return {
    tokens,
    perplexity: { float: perplexity.float.mean, quantized: perplexity.quantized.mean },
    kl: { mean: klDivergence.mean, p999: klDivergence999 },
    sameToken: sameNextToken.mean,
    warnings,
  };
}
