import { outerNode, type Layer } from '../layers/layer';
import { type Graph, usedBy } from '../../containers/onnx/graph';

/** Values that depend on the weights of some layers: all others are the same in the float network and the quantized one. */
export function changedValues({ order }: Graph, layers: readonly Layer[]): ReadonlySet<string> {
  const quantized = new Set(layers.map(outerNode));
  const changed = new Set<string>();
  for (const node of order)
    if (quantized.has(node) || usedBy(node).some((name) => changed.has(name)))
      for (const name of node.output) changed.add(name);
  return changed;
}
