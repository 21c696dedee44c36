import { VertexqError } from '../../errors';
import { rawLength, typeNameOf } from './element-types';
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type TensorProto,
} from './onnx_pb';

const bad = (tensor: TensorProto, what: string) =>
  new VertexqError('ERR_VERTEXQ_ONNX', `tensor "${tensor.name}": ${what}`);

/** Numbers as a message shows them: a file may have a hundred thousand. */
const listed = (numbers: readonly number[]) =>
  `[${numbers.slice(0, 8).join(', ')}${numbers.length > 8 ? `, … ${numbers.length} in all` : ''}]`;

/** The dimensions as numbers. Throws ERR_VERTEXQ_ONNX at a negative one or a product beyond 2^53. */
export function dimsOf(tensor: TensorProto): number[] {
  const dims = tensor.dims.map(Number);
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (dims.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || !Number.isSafeInteger(count))
    throw bad(tensor, `the dimensions ${listed(dims)} are not possible`);
  return dims;
}

/** How many elements the dimensions say. Throws as `dimsOf`. */
export function countOf(tensor: TensorProto): number {
  return dimsOf(tensor).reduce((product, dim) => product * dim, 1);
}

/** Bytes of a tensor in its own type; 0 where it has no size. Throws as `dimsOf`. */
export const dataLength = (tensor: TensorProto) => rawLength(tensor.dataType, countOf(tensor)) ?? 0;

/** Whether a tensor's data lies in another file. */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === DataLocation.EXTERNAL || tensor.externalData.length > 0;
}

/** Which of the lists of numbers a tensor has something in. */
export function typedData(tensor: TensorProto): string[] {
  const { floatData, int32Data, int64Data, uint64Data, doubleData, stringData } = tensor;
  const lists = {
    float_data: floatData,
    int32_data: int32Data,
    int64_data: int64Data,
    uint64_data: uint64Data,
    double_data: doubleData,
    string_data: stringData,
  };
  return Object.entries(lists).flatMap(([kind, { length }]) => (length > 0 ? [kind] : []));
}

/** Which list a type's elements are in where they are not in `raw_data`; in 16 bits, as the bits. */
const listOf: Partial<Record<DataType, 'floatData' | 'doubleData' | 'int32Data'>> = {
  [DataType.FLOAT]: 'floatData',
  [DataType.DOUBLE]: 'doubleData',
  [DataType.FLOAT16]: 'int32Data',
  [DataType.BFLOAT16]: 'int32Data',
};

const listNames = { floatData: 'float_data', doubleData: 'double_data', int32Data: 'int32_data' };

/** The typed list of a float tensor as `raw_data` would hold it. Throws ERR_VERTEXQ_ONNX where it does not fit the dimensions. */
export function rawOfTyped(tensor: TensorProto): Uint8Array {
  const count = countOf(tensor);
  const type = tensor.dataType as DataType;
  const list = listOf[type];
  const typed = typedData(tensor);
  if (list === undefined) {
    if (count === 0 || typed.length > 0) return new Uint8Array(0);
    throw bad(tensor, `its dimensions want ${count} elements of type ${typeNameOf(type)}, and it has none`);
  }
  if (typed.some((kind) => kind !== listNames[list]))
    throw bad(tensor, `expected its numbers in raw_data or ${listNames[list]}, not ${typed.join(' and ')}`);
  const numbers = tensor[list];
  if (numbers.length !== count)
    throw bad(tensor, `its dimensions want ${count} numbers, and it has ${numbers.length}`);
  const values =
    type === DataType.FLOAT
      ? Float32Array.from(numbers)
      : type === DataType.DOUBLE
        ? Float64Array.from(numbers)
        : Uint16Array.from(numbers);
  return new Uint8Array(values.buffer);
}
