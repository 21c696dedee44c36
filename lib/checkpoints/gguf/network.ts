import type { CheckpointNetwork } from '../network';
import type { GgufModel } from './tensor';

/**
 * The network with its layers by the names that a GGUF file has for their weights. A head that is the embedding is none of those that are fitted:
 * tokens that are looked up in it would lose more than logits gain.
 */
export function namedAs(network: CheckpointNetwork, { tensors }: GgufModel): CheckpointNetwork {
  const layers = new Map<
    string,
    CheckpointNetwork['layers'] extends ReadonlyMap<string, infer Own> ? Own : never
  >();
  for (const { name, tensor, isEmbedding, experts = [] } of tensors) {
    for (const [i, expert] of experts.entries()) {
      const own = network.layers.get(expert);
      if (own) layers.set(expertName(name, i), own);
    }
    const own = network.layers.get(tensor);
    if (own && !isEmbedding) layers.set(name, own);
  }
  return { ...network, layers };
}

/** What the matrix of an expert in a tensor of all is called. */
export const expertName = (name: string, expert: number): string =>
  name.replace(/(\.weight)?$/, `.${expert}$1`);
