import type { Layer } from '../layers/layer';
import { asStored } from '../layers/weight-values';
import { attributeOf, type Graph, isStandard } from '../onnx/graph';
import { floatTensor } from '../onnx/float-tensor';
import { dimsOf } from '../onnx/tensor';
import type { Store } from './stored-weight';

/**
 * Format `float`: the values on the grid in place of the tensor's own, in its layout and type and under its name: only weights
 * change. For weights that nothing but quantized layers uses, and that come to these unchanged.
 */
export const storeInPlace: Store = (layer, quantized) => {
  const { tensor: original, chain } = layer.constant;
  const values = asStored(layer, quantized.dequantize());
  const fresh = floatTensor(original.name, dimsOf(original), original.dataType, values);
  if (original.docString !== '') fresh.docString = original.docString;
  const maker = chain.find(({ opType }) => opType === 'Constant');
  return {
    tensors: maker ? [] : [fresh],
    bytes: fresh.rawData.length,
    wire(_, { model }) {
      const list = model.graph!.initializer;
      const place = list.indexOf(original);
      if (maker) attributeOf(maker, 'value')!.t = fresh;
      else if (place < 0)
        return; // another layer that shares it was first
      else list[place] = fresh;
    },
  };
};

/** Whether a weight's only uses, through every value it goes by, are `layers` many quantized layers. */
export function isOnlyUsedBy(layer: Layer, layers: number, graph: Graph): boolean {
  const { tensor: original, chain } = layer.constant;
  const source = chain.find((step) => step.opType === 'Constant')?.output[0] ?? original.name;
  // Followed forward, as a tied weight may reach its layers on several ways.
  let uses = 0;
  const pending = [source];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    const passing = graph.usersOf(name).filter((step) => isStandard(step) && passesOn.has(step.opType));
    uses += graph.usesOf(name) - passing.length;
    for (const step of passing) pending.push(step.output[0]!);
  }
  return uses === layers;
}

const passesOn: ReadonlySet<string> = new Set(['Transpose', 'Identity']);
