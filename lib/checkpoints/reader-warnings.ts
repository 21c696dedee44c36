import type { CheckpointEncoding } from '../encodings/safetensors/encoding';
import type { ModelIdentity } from './model-identity';
import type { Plan } from './plan';
import { formatBytes } from '../reports/units';
import { fewOf } from '../reports/text';
import type { Turns } from '../yielding';
import { warn, type Warning } from '../warning-codes';

/** Bytes from which a tensor that could not be quantized is worth a warning of its own. */
const worthTelling = 2 ** 20;

/** What some reader does not take, or a user would not expect, of what will be written. */
export async function readerWarnings(
  plan: Plan,
  encoding: CheckpointEncoding,
  identity: ModelIdentity,
  turns: Turns,
): Promise<Warning[]> {
  await turns.next();
  const warnings = encoding.warnings(plan.weights.map(({ name, settings }) => [name, settings]));
  if (plan.untied)
    warnings.push(
      warn(
        'WARN_VERTEXQ_UNTIED',
        'The head is quantized and the embedding is not: config.json gets "tie_word_embeddings": false.',
      ),
    );
  if (identity.quantizedWeights.length > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_QUANTIZED_ALREADY',
        `${identity.quantizedWeights.length} weights are quantized already and stay as they are (${fewOf(identity.quantizedWeights, 1)}): readers need to know of them from elsewhere.`,
      ),
    );
  let bytes = 0;
  const experts: string[] = [];
  for (const { source } of plan.shards)
    for (const [name, { shape, byteLength }] of source.tensors) {
      if (turns.due) await turns.next();
      const left = plan.left.get(name);
      if (left?.choice !== false || shape.length < 2 || byteLength < worthTelling) continue;
      bytes += byteLength;
      experts.push(`"${name}" (${left.reason})`);
    }
  if (experts.length > 0)
    warnings.push(
      warn(
        'WARN_VERTEXQ_NOT_QUANTIZED',
        `${formatBytes(bytes)} cannot be quantized and stay as they are: ${fewOf(experts, 2)}.`,
      ),
    );
  return warnings;
}
