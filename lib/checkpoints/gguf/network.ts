import type { CheckpointNetwork } from '../network';
import type { GgufModel } from './model';

/**
 * The network with its layers by the names that a GGUF file has for their weights. The embedding and the head are none of those that are
 * fitted: tokens are looked up in them, or they are kept wide.
 */
export function namedAs(network: CheckpointNetwork, { tensors }: GgufModel): CheckpointNetwork {
  const layers = new Map<
    string,
    CheckpointNetwork['layers'] extends ReadonlyMap<string, infer Own> ? Own : never
  >();
  for (const { name, tensor, isHead, isEmbedding } of tensors) {
    const own = network.layers.get(tensor);
    if (own && !isHead && !isEmbedding) layers.set(name, own);
  }
  return { ...network, layers };
}
