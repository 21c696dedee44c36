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

/** Where parsing would fail anyway: the parser's message is the better one. */
const malformed = -1;

/**
 * Throws ERR_VERTEXQ_MEMORY where the messages and numbers of an ONNX model would fill more than half of the JavaScript heap.
 * Raw data does not count: it stays where it is.
 */
export function requireHeap(bytes: Uint8Array, file: string): void {
  const most = getHeapStatistics().heap_size_limit / 2;
  if (heapFor(bytes, most) > most)
    throw new VertexqError(
      'ERR_VERTEXQ_MEMORY',
      `${file}: its nodes and numbers would take more than ${Math.round(most / 2 ** 20)} MiB, half of the memory that Node gives JavaScript: raise it with NODE_OPTIONS=--max-old-space-size=<MiB>`,
    );
}

/** What parsing will take, or the first number above `most`. Goes over the messages alone, without recursion. */
function heapFor(bytes: Uint8Array, most: number): number {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; at < bytes.length; factor *= 128) {
      const byte = bytes[at++]!;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
    return Infinity;
  };
  const open = [{ end: bytes.length, fields: fieldsOf(ModelProtoSchema) }];
  let heap = perMessage;
  while (heap <= most) {
    while (open.length > 0 && at >= open.at(-1)!.end) open.pop();
    const inner = open.at(-1);
    if (!inner) return heap;
    const tag = varint();
    const field = inner.fields.get(Math.floor(tag / 8));
    const wireType = tag % 8;
    if (wireType !== 2) {
      heap += field ? perNumber(field) : perUnknownField;
      if (wireType === 0) varint();
      else if (wireType === 1) at += 8;
      else if (wireType === 5) at += 4;
      else if (wireType > 4) return malformed;
      continue;
    }
    const length = varint();
    if (!(at + length <= inner.end)) return malformed;
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

const known = new Map<DescMessage, Map<number, DescField>>();

function fieldsOf(message: DescMessage): Map<number, DescField> {
  let fields = known.get(message);
  if (!fields) known.set(message, (fields = new Map(message.fields.map((field) => [field.number, field]))));
  return fields;
}
