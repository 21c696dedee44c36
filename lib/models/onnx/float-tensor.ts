import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { floatToBfloat, floatToHalf } from '../../formats/half';
import type { FloatArray } from '../../types';
import { typeNameOf } from './element-types';
import { TensorProto_DataType as DataType, TensorProtoSchema, type TensorProto } from './onnx_pb';
import { isFloat32Array, isFloat64Array } from '../../realms';

/** Values as `raw_data` of a floating-point type, rounded to it. */
export function floatsAs(type: number, values: FloatArray): Float32Array | Float64Array | Uint16Array {
  switch (type as DataType) {
    case DataType.FLOAT:
      return isFloat32Array(values) ? values : Float32Array.from(values);
    case DataType.DOUBLE:
      return isFloat64Array(values) ? values : Float64Array.from(values);
    case DataType.FLOAT16:
      return floatToHalf(values);
    case DataType.BFLOAT16:
      return floatToBfloat(values);
    default:
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `expected a floating-point type, not ${typeNameOf(type)}`,
      );
  }
}

/** A tensor of a floating-point type. */
export function floatTensor(
  name: string,
  dims: readonly number[],
  type: number,
  values: FloatArray,
): TensorProto {
  const data = floatsAs(type, values);
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: type,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
}
