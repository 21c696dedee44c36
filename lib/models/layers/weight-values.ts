import type { FloatArray } from '../../types';
import { transposed } from '../onnx/tensor';
import type { Weights } from '../onnx/weights';
import type { Layer } from './layer';

/** W, [outFeatures, inFeatures]. Rejects as Weights.floats. */
export async function weightOf(layer: Layer, weights: Weights): Promise<FloatArray> {
  const { constant, layout } = layer;
  const stored = await weights.floats(constant.tensor);
  // Two exchanges of dimensions are none.
  if (isMatrix(layer) && constant.transposed && layout === 'input-major') return stored;
  const seen = reordered(stored, constant.dims, constant.order, 'forth');
  return layout === 'neuron-major' ? seen : exchanged(seen, layer, layer.inFeatures);
}

/** Values [outFeatures, inFeatures] as the node sees them. */
export function asNodeSees<Values extends FloatArray>(layer: Layer, values: Values): Values {
  return layer.layout === 'neuron-major'
    ? values
    : exchanged(values, layer, layer.outFeatures / layer.groups);
}

/** Values [outFeatures, inFeatures] in the order of the layer's tensor, which must come to the node unchanged. */
export function asStored<Values extends FloatArray>(layer: Layer, values: Values): Values {
  const { dims, order } = layer.constant;
  if (isMatrix(layer) && layer.constant.transposed && layer.layout === 'input-major') return values;
  return reordered(asNodeSees(layer, values), dims, order, 'back');
}

const isMatrix = ({ constant, groups }: Layer) => constant.dims.length === 2 && groups === 1;

/** Exchanges rows and columns, `rows` in each group. */
function exchanged<Values extends FloatArray>(values: Values, { groups }: Layer, rows: number): Values {
  const size = values.length / groups;
  if (groups === 1) return transposed(values, rows, size / rows);
  const result = values.slice() as Values;
  for (let group = 0; group < groups; group++)
    result.set(
      transposed(values.subarray(group * size, (group + 1) * size) as Values, rows, size / rows),
      group * size,
    );
  return result;
}

/**
 * An array of the dimensions `dims` made from one whose dimension order[i] is dims[i]; or, `back`, that one from this.
 */
function reordered<Values extends FloatArray>(
  values: Values,
  dims: readonly number[],
  order: readonly number[],
  way: 'forth' | 'back',
): Values {
  if (order.every((axis, i) => axis === i)) return values;
  if (dims.length === 2)
    return way === 'forth' ? transposed(values, dims[1]!, dims[0]!) : transposed(values, dims[0]!, dims[1]!);
  const from: number[] = [];
  for (const [i, axis] of order.entries()) from[axis] = dims[i]!;
  const strides = from.map((_, axis) => from.slice(axis + 1).reduce((a, b) => a * b, 1));
  const steps = order.map((axis) => strides[axis]!);
  const result = values.slice() as Values;
  const at = dims.map(() => 0);
  for (let i = 0, source = 0; i < values.length; i++) {
    if (way === 'forth') result[i] = values[source]!;
    else result[source] = values[i]!;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      source += steps[axis]!;
      if (++at[axis]! < dims[axis]!) break;
      source -= steps[axis]! * dims[axis]!;
      at[axis] = 0;
    }
  }
  return result;
}
