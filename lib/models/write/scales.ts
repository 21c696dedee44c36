import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { floatToHalf } from '../../formats/half';
import { tensor } from '../onnx/make';
import { type TensorProto, TensorProto_DataType as DataType, TensorProtoSchema } from '../onnx/onnx_pb';

/** A float32 tensor, or one of the nearest float16 numbers. */
export function floatTensor(
  name: string,
  dims: readonly number[],
  values: Float32Array,
  half: boolean,
): TensorProto {
  if (!half) return tensor(name, dims, values);
  const bits = floatToHalf(values);
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: DataType.FLOAT16,
    rawData: new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength),
  });
}

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
  return floatTensor(name, dims, scales, half);
}
