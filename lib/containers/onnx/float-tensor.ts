import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import type { NativeFloat } from '../../native/binding';
import { convert, convertNow } from '../../native/tensors';
import { isFloat32Array } from '../../realms';
import type { FloatArray } from '../../types';
import { typeNameOf } from './element-types';
import { TensorProto_DataType as DataType, TensorProtoSchema, type TensorProto } from './onnx_pb';

const types: Partial<Record<DataType, NativeFloat>> = {
  [DataType.FLOAT]: 'F32',
  [DataType.DOUBLE]: 'F64',
  [DataType.FLOAT16]: 'F16',
  [DataType.BFLOAT16]: 'BF16',
};

/** Float types, as ONNX calls them, as the addon does. Throws ERR_VERTEXQ_UNSUPPORTED at others. */
export function nativeType(type: number): NativeFloat {
  const found = types[type as DataType];
  if (found) return found;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `expected a floating-point type, not ${typeNameOf(type)}`,
  );
}

const typeOf = (values: FloatArray) => (isFloat32Array(values) ? 'F32' : 'F64');

/** A tensor of a floating-point type, with values rounded to it; and whether they all are finite. Rejects with the signal's reason. */
export async function roundedTensor(
  name: string,
  dims: readonly number[],
  type: number,
  values: FloatArray,
  signal?: AbortSignal,
): Promise<{ tensor: TensorProto; finite: boolean }> {
  const to = nativeType(type);
  const { data, finite } =
    to === typeOf(values)
      ? { data: values, finite: true }
      : await convert(values, typeOf(values), to, signal);
  return { tensor: tensorOf(name, dims, type, data), finite };
}

/** A tensor of a floating-point type, made at once: of a few numbers. */
export function floatTensor(
  name: string,
  dims: readonly number[],
  type: number,
  values: FloatArray,
): TensorProto {
  const to = nativeType(type);
  return tensorOf(name, dims, type, to === typeOf(values) ? values : convertNow(values, typeOf(values), to));
}

function tensorOf(name: string, dims: readonly number[], type: number, data: ArrayBufferView): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: type,
    rawData: new Uint8Array(data.buffer as ArrayBuffer, data.byteOffset, data.byteLength),
  });
}
