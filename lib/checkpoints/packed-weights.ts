import type { Checkpoint } from '../containers/safetensors/checkpoint';
import { foundWeights } from '../encodings/safetensors/table';
import type { FoundWeight } from '../encodings/safetensors/unpack';
import { Turns } from '../yielding';
import { parseConfig } from './model-config';
import type { ModelIdentity } from './model-identity';

type Fields = Readonly<Record<string, unknown>>;

/** What a checkpoint's config, or a single file's metadata, says of its quantization. */
export function quantizationConfig({ shards }: Checkpoint, { config }: ModelIdentity): Fields | null {
  const told = config?.fields['quantization_config'] ?? ownConfig(shards);
  return typeof told === 'object' && told !== null ? (told as Fields) : null;
}

function ownConfig(shards: Checkpoint['shards']): unknown {
  for (const shard of shards.values()) {
    const text = shard.metadata.get('quantization_config');
    if (text !== undefined) return parseConfig(text, `${shard.path}: its metadata`);
  }
  return undefined;
}

/** The weights that a checkpoint holds in few bits. */
export async function packedWeights(checkpoint: Checkpoint, config: Fields): Promise<FoundWeight[]> {
  const turns = new Turns();
  const weights: FoundWeight[] = [];
  const known = foundWeights();
  for (const name of checkpoint.places.keys()) {
    if (turns.due) await turns.next();
    for (const { codes, weightOf } of known) {
      const weight =
        name.endsWith(codes) && (await weightOf(checkpoint, name.slice(0, -codes.length), config));
      if (weight) weights.push(weight);
    }
  }
  return weights;
}
