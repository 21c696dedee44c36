import type { CheckpointNetwork } from '../network';
import type { GgufModel } from './model';

/**
 * The network with its layers by the names that a GGUF file has for their weights. A head that is the embedding is none of those that are fitted:
 * tokens that are looked up in it would lose more than logits gain.
 */
export function namedAs(network: CheckpointNetwork, { tensors }: GgufModel): CheckpointNetwork {
  const layers = new Map<
    string,
    CheckpointNetwork['layers'] extends ReadonlyMap<string, infer Own> ? Own : never
  >();
  for (const { name, tensor, isEmbedding } of tensors) {
    const own = network.layers.get(tensor);
    if (own && !isEmbedding) layers.set(name, own);
  }
  return { ...network, layers };
}
