import { permuted, transposed, type TypedArray } from '../../native/tensors';
import type { FloatArray } from '../../types';
import type { Weights } from '../../containers/onnx/weights';
import type { Layer } from './layer';

/** W, [outFeatures, inFeatures]. Rejects as Weights.floats. */
export async function weightOf(layer: Layer, weights: Weights, signal?: AbortSignal): Promise<FloatArray> {
  return byNeurons(layer, await weights.floats(layer.constant.tensor, signal), signal);
}

/** Values in the order of the layer's tensor as [outFeatures, inFeatures]. */
export async function byNeurons<Values extends TypedArray>(
  layer: Layer,
  stored: Values,
  signal?: AbortSignal,
): Promise<Values> {
  const { constant, order } = layer;
  if (isByNeurons(layer)) return stored;
  // Of the tensor, whose dimension order[i] is the i-th that the node sees.
  const dims: number[] = [];
  for (const [i, axis] of constant.order.entries()) dims[axis] = constant.dims[i]!;
  const seen = await permuted(stored, dims, constant.order, signal);
  return order === 'neuron-major' ? seen : exchanged(seen, layer, layer.inFeatures, signal);
}

/** Values [outFeatures, inFeatures] as the node sees them. */
export async function asNodeSees<Values extends FloatArray>(
  layer: Layer,
  values: Values,
  signal?: AbortSignal,
): Promise<Values> {
  return layer.order === 'neuron-major'
    ? values
    : exchanged(values, layer, layer.outFeatures / layer.groups, signal);
}

/** Values [outFeatures, inFeatures] in the order of the layer's tensor, which must come to the node unchanged. */
export async function asStored<Values extends FloatArray>(
  layer: Layer,
  values: Values,
  signal?: AbortSignal,
): Promise<Values> {
  const { dims, order } = layer.constant;
  if (isMatrix(layer) && layer.constant.transposed && layer.order === 'input-major') return values;
  const back = order.map((_, axis) => order.indexOf(axis));
  return permuted(await asNodeSees(layer, values, signal), dims, back, signal);
}

/** Whether a layer's tensor is its weight with rows and columns exchanged, and nothing else. */
export const isByInputs = (layer: Layer) =>
  isMatrix(layer) && (layer.order === 'input-major') !== layer.constant.transposed;

/** Whether a layer's tensor is its weight as it is. Two exchanges of dimensions are none. */
export const isByNeurons = (layer: Layer) =>
  layer.order === 'neuron-major'
    ? layer.constant.order.every((axis, i) => axis === i)
    : isMatrix(layer) && layer.constant.transposed;

const isMatrix = ({ constant, groups }: Layer) => constant.dims.length === 2 && groups === 1;

/** Exchanges rows and columns, `rows` in each group. */
function exchanged<Values extends TypedArray>(
  values: Values,
  { groups }: Layer,
  rows: number,
  signal: AbortSignal | undefined,
): Promise<Values> {
  const cols = values.length / groups / rows;
  return groups === 1
    ? transposed(values, rows, cols, signal)
    : permuted(values, [groups, rows, cols], [0, 2, 1], signal);
}
