import type { Layer } from '../layers/layer';
import { asStored } from '../layers/weight-values';
import { attributeOf, isStandard, type Scope } from '../../containers/onnx/graph';
import { valuesOf } from '../../native/tensors';
import { roundedTensor } from '../../containers/onnx/float-tensor';
import { dimsOf } from '../../containers/onnx/tensor';
import type { Store } from './stored-weight';

/**
 * Format `float`: the values on the grid in place of the tensor's own, in its layout and type and under its name: only weights
 * change. For weights that nothing but quantized layers uses, and that come to these unchanged.
 */
export const storeInPlace: Store = async (layer, quantized, _, signal) => {
  const { tensor: original, chain, scope } = layer.constant;
  const values = await asStored(layer, await valuesOf(quantized, signal), signal);
  const { tensor: fresh } = await roundedTensor(
    original.name,
    dimsOf(original),
    original.dataType,
    values,
    signal,
  );
  if (original.docString !== '') fresh.docString = original.docString;
  const maker = chain.find(({ opType }) => opType === 'Constant');
  return {
    // The model's own initializers may wait for it in a file.
    tensors: maker || scope.parent ? [] : [fresh],
    bytes: fresh.rawData.length,
    wire(_layer, { edits }) {
      if (maker) attributeOf(maker, 'value')!.t = fresh;
      else edits.replace(original, fresh);
    },
  };
};

/** Whether a weight's only uses, through every value it goes by, are `layers` many quantized layers. */
export function isOnlyUsedBy(layer: Layer, layers: number): boolean {
  const { tensor: original, chain, scope } = layer.constant;
  const source = chain.find((step) => step.opType === 'Constant')?.output[0] ?? original.name;
  // Followed forward, as a tied weight may reach its layers on several ways.
  let uses = 0;
  const pending: [string, Scope][] = [[source, scope]];
  for (let value = pending.pop(); value; value = pending.pop()) {
    const [name, where] = value;
    const passing = where.usersOf(name).filter(({ node }) => isStandard(node) && passesOn.has(node.opType));
    uses += where.usesOf(name) - passing.length;
    for (const user of passing) pending.push([user.node.output[0]!, user.scope]);
  }
  return uses === layers;
}

const passesOn: ReadonlySet<string> = new Set(['Transpose', 'Identity']);
