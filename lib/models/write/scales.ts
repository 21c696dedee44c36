import { VertexqError } from '../../errors';
import { indexWhere } from '../../yielding';
import { roundedTensor } from '../../containers/onnx/float-tensor';
import { type TensorProto, TensorProto_DataType as DataType } from '../../containers/onnx/onnx_pb';

const isLost = (scale: number) => Math.abs(scale) >= 65520 || (scale !== 0 && Math.abs(scale) <= 2 ** -25);

/**
 * A layer's scales in the type of its weights. Rejects with ERR_VERTEXQ_FORMAT at one that would become infinite or 0 as float16: its
 * group would be lost.
 */
export async function scalesTensor(
  name: string,
  dims: readonly number[],
  scales: Float32Array,
  half: boolean,
  signal?: AbortSignal,
): Promise<TensorProto> {
  const lost = half ? await indexWhere(scales, isLost, signal) : -1;
  if (lost >= 0)
    throw new VertexqError(
      'ERR_VERTEXQ_FORMAT',
      `its weights are float16, and the scale ${scales[lost]} is no float16 number: use the format "float", or skip the layer`,
    );
  return (await roundedTensor(name, dims, half ? DataType.FLOAT16 : DataType.FLOAT, scales, signal)).tensor;
}
