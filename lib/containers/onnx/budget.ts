import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { getHeapStatistics } from 'node:v8';
import { VertexqError } from '../../errors';
import { ModelProtoSchema } from './onnx_pb';

// Two bytes of a file become a message of some hundred bytes, and a heap that is full ends the process: so what a file will
// take is estimated before it is parsed.

/** Bytes on the heap, at most about, as measured with Node 20; of lists, while they grow. */
const perMessage = 180;
const perList = 24;
const perListInUse = 160;
const perListElement = 20;
const perUnknownField = 320;
const perString = 40;
const perBytes = 120;
const perFloat = 20;
const perBigInt = 28;

/**
 * Goes over a model's messages before they are parsed. Throws ERR_VERTEXQ_MEMORY where they and their numbers would fill more than
 * half of the JavaScript heap; raw data does not count, as it stays where it is. Throws ERR_VERTEXQ_ONNX where the bytes are no
 * messages of the schema: the parser is more lenient, and would make other messages of them than those that were counted.
 */
export function requireHeap(bytes: Uint8Array, file: string): void {
  const most = getHeapStatistics().heap_size_limit / 2;
  if (heapFor(bytes, file, most) > most)
    throw new VertexqError(
      'ERR_VERTEXQ_MEMORY',
      `${file}: its nodes and numbers would take more than ${Math.round(most / 2 ** 20)} MiB, half of the memory that Node gives JavaScript: raise it with NODE_OPTIONS=--max-old-space-size=<MiB>`,
    );
}

/** What parsing will take, or the first number above `most`. Goes over the messages alone, without recursion. Throws as `requireHeap`. */
export function heapFor(bytes: Uint8Array, file: string, most = Infinity): number {
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
  const open = [{ end: bytes.length, known: knownOf(ModelProtoSchema), listsInUse: 0 }];
  let heap = perMessage;
  while (heap <= most) {
    while (open.length > 0 && at >= open.at(-1)!.end) {
      if (at > open.at(-1)!.end) throw malformed('a field goes beyond its message');
      open.pop();
    }
    const inner = open.at(-1);
    if (!inner) return heap;
    const tag = varint();
    const { field, wireTypes } = inner.known.fields.get(Math.floor(tag / 8)) ?? unknown;
    const wireType = tag % 8;
    if (field && !wireTypes.includes(wireType))
      throw malformed(`"${field.name}" of ${field.parent.name} has the wire type ${wireType}`);
    if (field?.fieldKind === 'list' && !(inner.listsInUse & (1 << field.number))) {
      inner.listsInUse |= 1 << field.number;
      heap += perListInUse;
    }
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
      const known = knownOf(field.message);
      heap += known.heap;
      open.push({ end: at + length, known, listsInUse: 0 });
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

function perNumber({ scalar }: DescField): number {
  if (scalar === ScalarType.INT64 || scalar === ScalarType.UINT64) return perListElement + perBigInt;
  return scalar === ScalarType.FLOAT || scalar === ScalarType.DOUBLE
    ? perListElement + perFloat
    : perListElement;
}

/** A string, bytes, or packed numbers, of which the shortest take a byte. */
function perLength(field: DescField, length: number): number {
  switch (field.scalar) {
    case ScalarType.STRING:
      return perListElement + perString + length;
    case ScalarType.BYTES:
      return perListElement + perBytes;
    case ScalarType.FLOAT:
      return perNumber(field) * (length / 4);
    case ScalarType.DOUBLE:
      return perNumber(field) * (length / 8);
    default:
      return perNumber(field) * length;
  }
}

interface KnownField {
  field: DescField | undefined;
  wireTypes: readonly number[];
}

interface KnownMessage {
  fields: ReadonlyMap<number, KnownField>;
  heap: number;
}

const unknown: KnownField = { field: undefined, wireTypes: [] };
const messages = new Map<DescMessage, KnownMessage>();

function knownOf(message: DescMessage): KnownMessage {
  let known = messages.get(message);
  if (!known) {
    known = {
      fields: new Map(
        message.fields.map((field) => [field.number, { field, wireTypes: wireTypesOf(field) }]),
      ),
      heap: perMessage + perList * message.fields.filter(({ fieldKind }) => fieldKind === 'list').length,
    };
    messages.set(message, known);
  }
  return known;
}
