import { VertexqError } from '../../errors';
import { floatTensor } from '../onnx/float-tensor';
import { type TensorProto, TensorProto_DataType as DataType } from '../onnx/onnx_pb';

/**
 * A layer's scales in the type of its weights. Throws ERR_VERTEXQ_FORMAT at one that would become infinite or 0 as float16: its
 * group would be lost.
 */
export function scalesTensor(
  name: string,
  dims: readonly number[],
  scales: Float32Array,
  half: boolean,
): TensorProto {
  const lost = half
    ? scales.find((scale) => Math.abs(scale) >= 65520 || (scale !== 0 && Math.abs(scale) <= 2 ** -25))
    : undefined;
  if (lost !== undefined)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `its weights are float16, and the scale ${lost} is no float16 number: use the format "float", or skip the layer`,
    );
  return floatTensor(name, dims, half ? DataType.FLOAT16 : DataType.FLOAT, scales);
}
