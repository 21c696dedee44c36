import { VertexqError } from '../../errors';
import { elementCount } from '../../formats/npy-header';
import { describe } from '../../options';
import {
  TensorProto_DataLocation as DataLocation,
  TensorProto_DataType as DataType,
  type TensorProto,
} from './onnx_pb';

/** The dimensions as numbers. Throws ERR_VERTEXQ_ONNX at a negative one or a product beyond 2^53. */
export function dimsOf(tensor: TensorProto): number[] {
  const dims = tensor.dims.map(Number);
  const count = dims.reduce((product, dim) => product * dim, 1);
  if (dims.some((dim) => !Number.isSafeInteger(dim) || dim < 0) || !Number.isSafeInteger(count))
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `tensor "${tensor.name}": the dimensions [${dims.join(', ')}] are not possible`,
    );
  return dims;
}

const elementBytes: Partial<Record<DataType, number>> = {
  [DataType.FLOAT]: 4,
  [DataType.UINT8]: 1,
  [DataType.INT8]: 1,
  [DataType.UINT16]: 2,
  [DataType.INT16]: 2,
  [DataType.INT32]: 4,
  [DataType.INT64]: 8,
  [DataType.BOOL]: 1,
  [DataType.FLOAT16]: 2,
  [DataType.DOUBLE]: 8,
  [DataType.UINT32]: 4,
  [DataType.UINT64]: 8,
  [DataType.COMPLEX64]: 8,
  [DataType.COMPLEX128]: 16,
  [DataType.BFLOAT16]: 2,
};

/** Bytes of the values, wherever they are kept; in another file, 0 for types of no whole bytes. */
export function byteLengthOf(tensor: TensorProto): number {
  if (isExternal(tensor))
    return elementCount(dimsOf(tensor)) * (elementBytes[tensor.dataType as DataType] ?? 0);
  return (
    tensor.rawData.length ||
    4 * (tensor.floatData.length + tensor.int32Data.length) +
      8 * (tensor.int64Data.length + tensor.uint64Data.length + tensor.doubleData.length)
  );
}

/** The ONNX name of a tensor's type, e.g. FLOAT16. */
export function typeNameOf(dataType: number): string {
  return DataType[dataType] ?? `type ${dataType}`;
}

/** Whether a tensor's data lies in another file. */
export function isExternal(tensor: TensorProto): boolean {
  return tensor.dataLocation === DataLocation.EXTERNAL || tensor.externalData.length > 0;
}

/** Throws ERR_VERTEXQ_UNSUPPORTED at a tensor whose data lies in another file. */
export function requireInFile(tensor: TensorProto): void {
  const location = tensor.externalData.find(({ key }) => key === 'location')?.value;
  if (isExternal(tensor))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `tensor "${tensor.name}": its data lies in another file${location ? `, ${describe(location)}` : ''}, which this version of vertexq does not read`,
    );
}

/**
 * The values of a float32 tensor; a view of the file's bytes where they are aligned. Throws ERR_VERTEXQ_ONNX where the data does
 * not fit the dimensions or is given twice, ERR_VERTEXQ_UNSUPPORTED where it lies in another file.
 */
export function floatValues(tensor: TensorProto): Float32Array {
  const bad = (what: string) => new VertexqError('ERR_VERTEXQ_ONNX', `tensor "${tensor.name}": ${what}`);
  requireInFile(tensor);
  if (tensor.dataType !== DataType.FLOAT) throw bad(`expected float32, not ${typeNameOf(tensor.dataType)}`);
  const count = dimsOf(tensor).reduce((product, dim) => product * dim, 1);
  const { rawData, floatData } = tensor;
  const typed = typedData(tensor);
  if (rawData.length > 0 && typed.length > 0) throw bad(`it has both raw_data and ${typed[0]}`);
  if (typed.some((kind) => kind !== 'float_data'))
    throw bad(`expected its numbers in raw_data or float_data, not ${typed.join(' and ')}`);
  if (rawData.length === 0) {
    if (floatData.length !== count)
      throw bad(`its dimensions want ${count} numbers, and it has ${floatData.length}`);
    return Float32Array.from(floatData);
  }
  if (rawData.length !== 4 * count)
    throw bad(`its dimensions want ${4 * count} bytes, and it has ${rawData.length}`);
  const aligned = rawData.byteOffset % 4 === 0 ? rawData : new Uint8Array(rawData);
  return new Float32Array(aligned.buffer, aligned.byteOffset, count);
}

/** Which of the lists of numbers a tensor has something in. */
function typedData(tensor: TensorProto): string[] {
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

/** Puts float32 values into a tensor, in place of what it held. */
export function setFloatValues(tensor: TensorProto, values: Float32Array): void {
  tensor.floatData = [];
  tensor.rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** The transpose of a row-major rows × cols matrix. */
export function transposed(values: Float32Array, rows: number, cols: number): Float32Array {
  const result = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) result[j * rows + i] = values[i * cols + j]!;
  return result;
}
