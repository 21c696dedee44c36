import { VertexqError } from '../../errors';
import { asNodeSees } from '../layers/weight-values';
import { floatTensor } from '../onnx/float-tensor';
import { TensorProto_DataType as DataType } from '../onnx/onnx_pb';
import { namingLayer } from './naming-layer';
import { SharedValue } from './shared-value';
import type { Store } from './stored-weight';
import { viewOf, weightName } from './view';

/**
 * Format `float`, where the original tensor must stay: the values on the grid as a new initializer, in the form and type that the node
 * sees, which rounds them where it is float16 or bfloat16. Throws ERR_VERTEXQ_FORMAT at values beyond float16.
 */
export const storeFloat: Store = namingLayer((layer, quantized, names) => {
  const view = viewOf(layer);
  const values = asNodeSees(layer, quantized.dequantize());
  const beyond =
    view.dataType === DataType.FLOAT16 ? values.find((value) => Math.abs(value) >= 65520) : undefined;
  if (beyond !== undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `its weights are float16, and the value ${beyond} is none: skip the layer`,
    );
  const name = names.unused(`${weightName(layer)}_quantized`);
  const made = floatTensor(name, view.dims, view.dataType, values);
  const value = new SharedValue(name, view, []);
  return { tensors: [made], bytes: made.rawData.length, wire: (to, wiring) => value.wire(to, wiring) };
});
