import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';
import { formatBytes } from '../reports/units';
import { fewOf } from '../reports/text';

/** Bytes from which a tensor that could not be quantized is worth a warning of its own. */
const worthTelling = 2 ** 20;

/** What some reader does not take, or a user would not expect, of what will be written. */
export function readerWarnings(plan: Plan, encoding: CheckpointEncoding, identity: ModelIdentity): string[] {
  const warnings = encoding.warnings(plan.weights.map(({ name, settings }) => [name, settings]));
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
