import { TensorProto_DataType as DataType } from './onnx_pb';

/** Bits of an element, by data type; of those that this version's schema has no name for, too. */
const elementBits: Record<number, number> = {
  [DataType.FLOAT]: 32,
  [DataType.UINT8]: 8,
  [DataType.INT8]: 8,
  [DataType.UINT16]: 16,
  [DataType.INT16]: 16,
  [DataType.INT32]: 32,
  [DataType.INT64]: 64,
  [DataType.BOOL]: 8,
  [DataType.FLOAT16]: 16,
  [DataType.DOUBLE]: 64,
  [DataType.UINT32]: 32,
  [DataType.UINT64]: 64,
  [DataType.COMPLEX64]: 64,
  [DataType.COMPLEX128]: 128,
  [DataType.BFLOAT16]: 16,
  // Four kinds of 8-bit floats.
  17: 8,
  18: 8,
  19: 8,
  20: 8,
  // UINT4, INT4, FLOAT4E2M1.
  21: 4,
  22: 4,
  23: 4,
  // FLOAT8E8M0, UINT2, INT2.
  24: 8,
  25: 2,
  26: 2,
};

/** Bytes of `count` elements in `raw_data`; undefined for strings and types that are not known. */
export function rawLength(dataType: number, count: number): number | undefined {
  const bits = elementBits[dataType];
  return bits === undefined ? undefined : Math.ceil((count * bits) / 8);
}

/** The types that a weight may be of. */
export const floatTypes: ReadonlySet<number> = new Set([
  DataType.FLOAT,
  DataType.FLOAT16,
  DataType.BFLOAT16,
  DataType.DOUBLE,
]);

/** The ONNX name of a tensor's type, e.g. FLOAT16. */
export function typeNameOf(dataType: number): string {
  return DataType[dataType] ?? `type ${dataType}`;
}

const runtimeNames: Record<string, string> = { FLOAT: 'float32', DOUBLE: 'float64' };

/** The runtime's name of a type, e.g. float32. */
export function runtimeNameOf(dataType: number): string {
  const onnxName = typeNameOf(dataType);
  return runtimeNames[onnxName] ?? onnxName.toLowerCase();
}

/** The type of a runtime's name; undefined for a name of none. */
export function typeOfRuntimeName(name: string): DataType | undefined {
  return dataTypes.get(name);
}

const dataTypes = new Map(
  Object.values(DataType)
    .filter((value): value is DataType => typeof value === 'number')
    .map((type) => [runtimeNameOf(type), type]),
);
