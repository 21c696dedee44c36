import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { getHeapStatistics } from 'node:v8';
import { VertexqError } from '../../errors';
import { ModelProtoSchema } from './onnx_pb';

// Two bytes of a file become a message of some hundred bytes, and a heap that is full ends the process: so what a file will
// take is estimated before it is parsed.

/** Bytes on the heap, about, as measured with Node 20. */
const perMessage = 400;
const perUnknownField = 300;
const perString = 40;
const perBytes = 120;

/**
 * Goes over a model's messages before they are parsed. Throws ERR_VERTEXQ_MEMORY where they and their numbers would fill more than
 * half of the JavaScript heap; raw data does not count, as it stays where it is. Throws ERR_VERTEXQ_ONNX where the bytes are no
 * messages of the schema: the parser is more lenient, and would make other messages of them than those that were counted.
 */
export function requireHeap(bytes: Uint8Array, file: string): void {
  const most = getHeapStatistics().heap_size_limit / 2;
  if (heapFor(bytes, most, file) > most)
    throw new VertexqError(
      'ERR_VERTEXQ_MEMORY',
      `${file}: its nodes and numbers would take more than ${Math.round(most / 2 ** 20)} MiB, half of the memory that Node gives JavaScript: raise it with NODE_OPTIONS=--max-old-space-size=<MiB>`,
    );
}

/** What parsing will take, or the first number above `most`. Goes over the messages alone, without recursion. */
function heapFor(bytes: Uint8Array, most: number, file: string): number {
  let at = 0;
  const malformed = (what: string) =>
    new VertexqError('ERR_VERTEXQ_ONNX', `${file} is not an ONNX model: ${what}, at byte ${at}`);
  const varint = (): number => {
    let value = 0;
    for (let factor = 1, i = 0; i < 10 && at < bytes.length; factor *= 128, i++) {
      const byte = bytes[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    throw malformed('a number that does not end');
  };
  const open = [{ end: bytes.length, fields: fieldsOf(ModelProtoSchema) }];
  let heap = perMessage;
  while (heap <= most) {
    while (open.length > 0 && at >= open.at(-1)!.end) {
      if (at > open.at(-1)!.end) throw malformed('a field goes beyond its message');
      open.pop();
    }
    const inner = open.at(-1);
    if (!inner) return heap;
    const tag = varint();
    const { field, wireTypes } = inner.fields.get(Math.floor(tag / 8)) ?? unknown;
    const wireType = tag % 8;
    if (field && !wireTypes.includes(wireType))
      throw malformed(`"${field.name}" of ${field.parent.name} has the wire type ${wireType}`);
    if (wireType !== 2) {
      heap += field ? perNumber(field) : perUnknownField;
      if (wireType === 0) varint();
      else if (wireType === 1) at += 8;
      else if (wireType === 5) at += 4;
      // Groups are deprecated, and ONNX never had any.
      else throw malformed(`a field of the wire type ${wireType}`);
      continue;
    }
    const length = varint();
    if (at + length > inner.end) throw malformed('a field goes beyond its message');
    if (field?.message) {
      heap += perMessage;
      open.push({ end: at + length, fields: fieldsOf(field.message) });
      continue;
    }
    heap += field ? perLength(field, length) : perUnknownField;
    at += length;
  }
  return heap;
}

const scalarWireTypes: Partial<Record<ScalarType, number>> = {
  [ScalarType.DOUBLE]: 1,
  [ScalarType.FLOAT]: 5,
  [ScalarType.STRING]: 2,
  [ScalarType.BYTES]: 2,
};

/** The wire types that a field may have: numbers come one by one or, where there may be several, packed. */
function wireTypesOf(field: DescField): readonly number[] {
  if (field.message) return [2];
  const own = (field.scalar && scalarWireTypes[field.scalar]) ?? 0;
  return field.fieldKind === 'list' ? [own, 2] : [own];
}

function perNumber(field: DescField): number {
  return field.scalar === ScalarType.INT64 || field.scalar === ScalarType.UINT64 ? 48 : 8;
}

/** A string, bytes, or packed numbers. */
function perLength(field: DescField, length: number): number {
  switch (field.scalar) {
    case ScalarType.STRING:
      return perString + length;
    case ScalarType.BYTES:
      return perBytes;
    case ScalarType.FLOAT:
      return 2 * length;
    case ScalarType.DOUBLE:
      return length;
    default:
      return perNumber(field) * length;
  }
}

interface Known {
  field: DescField | undefined;
  wireTypes: readonly number[];
}

const unknown: Known = { field: undefined, wireTypes: [] };
const known = new Map<DescMessage, Map<number, Known>>();

function fieldsOf(message: DescMessage): Map<number, Known> {
  let fields = known.get(message);
  if (!fields) {
    fields = new Map(message.fields.map((field) => [field.number, { field, wireTypes: wireTypesOf(field) }]));
    known.set(message, fields);
  }
  return fields;
}
