import type { CheckpointFormat } from './types';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';
import { formatBytes } from '../reports/units';
import { fewOf } from '../reports/text';
import { moduleOf, splitName } from './tensor-names';

/** Bytes from which a tensor that could not be quantized is worth a warning of its own. */
const worthTelling = 2 ** 20;

/** What some reader does not take, or a user would not expect, of what will be written. */
export function readerWarnings(plan: Plan, format: CheckpointFormat, identity: ModelIdentity): string[] {
  const warnings: string[] = [];
  if (format === 'compressed-tensors') {
    const odd = new Set(
      plan.weights.map(({ settings }) => settings.bits).filter((bits) => ![2, 4, 8].includes(bits)),
    );
    if (odd.size > 0)
      warnings.push(
        `Only readers from mid-2026 on take ${[...odd].sort().join(', ')} bits; 4 and 8 are read by all.`,
      );
    if (plan.weights.some(({ settings }) => settings.grid === 'asymmetric'))
      warnings.push(
        'transformers 5 with compressed-tensors 0.20 does not load the zero points of an "asymmetric" grid; "integer" is read by all.',
      );
    if (plan.weights.some(({ name }) => splitName(moduleOf(name))[1] === 'lm_head'))
      warnings.push(
        'vLLM takes no packed "lm_head" in this format: the formats "gptq" and "gptq_v2" it does.',
      );
  }
  if (plan.untied)
    warnings.push(
      'The head is quantized and the embedding is not: config.json gets "tie_word_embeddings": false.',
    );
  if (identity.quantizedWeights.length > 0)
    warnings.push(
      `${identity.quantizedWeights.length} weights are quantized already and stay as they are (${fewOf(identity.quantizedWeights, 1)}): readers need to know of them from elsewhere.`,
    );
  const experts = plan.shards.flatMap(({ source }) =>
    [...source.tensors].filter(
      ([name, { shape, byteLength }]) =>
        plan.left.get(name)?.choice === false && shape.length > 1 && byteLength >= worthTelling,
    ),
  );
  if (experts.length > 0) {
    const bytes = experts.reduce((sum, [, { byteLength }]) => sum + byteLength, 0);
    warnings.push(
      `${formatBytes(bytes)} cannot be quantized and stay as they are: ${fewOf(
        experts.map(([name]) => `"${name}" (${plan.left.get(name)!.reason})`),
        2,
      )}.`,
    );
  }
  return warnings;
}
