import { VertexqError } from '../../errors';
import { inputMajor } from '../../formats/integer-tensor';
import { tensor } from '../onnx/make';
import { TensorProto_DataType as DataType, type TensorProto } from '../onnx/onnx_pb';
import { namingLayer } from './naming-layer';
import { floatTensor } from './scales';
import { SharedValue } from './shared-value';
import type { Store } from './stored-weight';
import { viewOf, weightName } from './view';

/**
 * Format `float`, where the original tensor must stay: the values on the grid as a new initializer, in the form and type that the node
 * sees; float16 rounds them.
 */
export const storeFloat: Store = namingLayer((layer, quantized, names) => {
  const view = viewOf(layer);
  const { outFeatures, inFeatures, groups } = view;
  let values = quantized.dequantize();
  if (view.layout === 'input-major') values = inputMajor(values, outFeatures, inFeatures, groups);
  const name = names.unused(`${weightName(layer)}_quantized`);
  const made = valuesTensor(name, view.dims, values, view.dataType);
  const value = new SharedValue(name, view, []);
  return { tensors: [made], bytes: made.rawData.length, wire: (to, wiring) => value.wire(to, wiring) };
});

/** Throws ERR_VERTEXQ_FORMAT at values beyond float16, and at types that grids do not fit into. */
function valuesTensor(
  name: string,
  dims: readonly number[],
  values: Float32Array,
  dataType: number,
): TensorProto {
  const refused = (what: string) =>
    new VertexqError('ERR_VERTEXQ_FORMAT', `its weights are ${what}: skip the layer`);
  switch (dataType as DataType) {
    case DataType.FLOAT:
      return tensor(name, dims, values);
    case DataType.DOUBLE:
      return tensor(name, dims, Float64Array.from(values));
    case DataType.FLOAT16: {
      const beyond = values.find((value) => Math.abs(value) >= 65520);
      if (beyond !== undefined) throw refused(`float16, and the value ${beyond} is none`);
      return floatTensor(name, dims, values, true);
    }
    default:
      throw refused(
        `${DataType[dataType] ?? `of type ${dataType}`}, and the format "float" writes FLOAT, FLOAT16 and DOUBLE`,
      );
  }
}
