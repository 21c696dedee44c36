import { VertexqError } from '../../errors';
import { asNodeSees } from '../layers/weight-values';
import { valuesOf } from '../../native/tensors';
import { indexWhere } from '../../yielding';
import { roundedTensor } from '../../containers/onnx/float-tensor';
import { TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';
import { namingLayer } from './naming-layer';
import { SharedValue } from './shared-value';
import type { Store } from './stored-weight';
import { viewOf, weightName } from './view';

const isBeyond = (value: number) => Math.abs(value) >= 65520;

/**
 * Format `float`, where the original tensor must stay: the values on the grid as a new initializer, in the form and type that the node
 * sees, which rounds them where it is float16 or bfloat16. Throws ERR_VERTEXQ_FORMAT at values beyond float16.
 */
export const storeFloat: Store = namingLayer(async (layer, quantized, names, signal) => {
  const view = viewOf(layer);
  const values = await asNodeSees(layer, await valuesOf(quantized, signal), signal);
  const name = names.unused(`${weightName(layer)}_quantized`);
  const { tensor: made, finite } = await roundedTensor(name, view.dims, view.dataType, values, signal);
  if (!finite && view.dataType === DataType.FLOAT16)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `its weights are float16, and the value ${values[await indexWhere(values, isBeyond, signal)]} is none: skip the layer`,
    );
  const value = new SharedValue(name, view, []);
  return { tensors: [made], bytes: made.rawData.length, wire: (to, wiring) => value.wire(to, wiring) };
});
