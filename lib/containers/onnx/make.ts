import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  AttributeProto_AttributeType as AttributeType,
  AttributeProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  ValueInfoProtoSchema,
  type AttributeProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from './onnx_pb';

/** An attribute's value: a `bigint` is an INT, a `number` a FLOAT, arrays likewise. */
export type AttributeValue = bigint | number | string | bigint[] | number[] | TensorProto;

export function attribute(name: string, value: AttributeValue): AttributeProto {
  return create(AttributeProtoSchema, { name, ...attributeFields(value) });
}

function attributeFields(value: AttributeValue): MessageInitShape<typeof AttributeProtoSchema> {
  if (typeof value === 'bigint') return { i: value, type: AttributeType.INT };
  if (typeof value === 'number') return { f: value, type: AttributeType.FLOAT };
  if (typeof value === 'string') return { s: new TextEncoder().encode(value), type: AttributeType.STRING };
  if (!Array.isArray(value)) return { t: value, type: AttributeType.TENSOR };
  if (value.every((v) => typeof v === 'bigint')) return { ints: value, type: AttributeType.INTS };
  return { floats: value, type: AttributeType.FLOATS };
}

/** A node of the standard domain, or of `domain`. */
export function node(
  opType: string,
  input: string[],
  output: string[],
  options: { name?: string; domain?: string; attributes?: Record<string, AttributeValue> } = {},
): NodeProto {
  return create(NodeProtoSchema, {
    opType,
    input,
    output,
    name: options.name ?? output[0] ?? opType,
    ...(options.domain === undefined ? {} : { domain: options.domain }),
    attribute: Object.entries(options.attributes ?? {}).map(([name, value]) => attribute(name, value)),
  });
}

const dataTypes = new Map<unknown, DataType>([
  [Float32Array, DataType.FLOAT],
  [Float64Array, DataType.DOUBLE],
  [Int32Array, DataType.INT32],
  [BigInt64Array, DataType.INT64],
  [Int8Array, DataType.INT8],
  [Uint8Array, DataType.UINT8],
]);

/** A tensor that holds `data` in `raw_data` (little-endian, as on every machine Node runs on), without a copy. */
export function tensor(
  name: string,
  dims: readonly number[],
  data: Float32Array | Float64Array | Int32Array | BigInt64Array | Int8Array | Uint8Array,
): TensorProto {
  const dataType = dataTypes.get(data.constructor);
  if (dataType === undefined) throw new TypeError(`no ONNX type for a ${data.constructor.name}`);
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType,
    rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  });
}

/** A graph input or output; a string dimension is symbolic. Without `dims` the rank is unknown. */
export function valueInfo(
  name: string,
  elemType: DataType,
  dims?: readonly (number | string)[],
): ValueInfoProto {
  const shape = dims && {
    dim: dims.map((d) => ({
      value:
        typeof d === 'string'
          ? { case: 'dimParam' as const, value: d }
          : { case: 'dimValue' as const, value: BigInt(d) },
    })),
  };
  return create(ValueInfoProtoSchema, {
    name,
    type: { value: { case: 'tensorType', value: { elemType, ...(shape ? { shape } : {}) } } },
  });
}
