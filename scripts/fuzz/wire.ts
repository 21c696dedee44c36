// Where the fields of a protobuf message lie.
import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';

/** One field as it is written, from its tag to the end of its content. */
export interface WireField {
  start: number;
  /** Where the content begins: behind the tag, and behind the length where there is one. */
  content: number;
  end: number;
  wireType: number;
  /** Of fields with a length: where that is written. */
  lengthAt: number | null;
  field: DescField | undefined;
  /** Index of the field that this one is a part of; −1 at the top. */
  parent: number;
}

/** All fields of an intact ONNX model, those inside messages behind the one they are in. */
export function fieldsOf(bytes: Uint8Array): WireField[] {
  const found: WireField[] = [];
  const open: { end: number; message: DescMessage; parent: number; at: number }[] = [
    { end: bytes.length, message: ModelProtoSchema, parent: -1, at: 0 },
  ];
  for (let inner = open.pop(); inner; inner = open.pop()) {
    const { end, message, parent } = inner;
    for (let at = inner.at; at < end;) {
      const start = at;
      const [tag, behindTag] = varintAt(bytes, at);
      const field = message.fields.find(({ number }) => number === Math.floor(tag / 8));
      const wireType = tag % 8;
      at = behindTag;
      let lengthAt: number | null = null;
      let content = at;
      if (wireType === 0) at = varintAt(bytes, at)[1];
      else if (wireType === 1) at += 8;
      else if (wireType === 5) at += 4;
      else {
        lengthAt = at;
        const [length, behindLength] = varintAt(bytes, at);
        content = behindLength;
        at = content + length;
      }
      found.push({ start, content, end: at, wireType, lengthAt, field, parent });
      if (wireType === 2 && field?.message)
        open.push({ end: at, message: field.message, parent: found.length - 1, at: content });
    }
  }
  return found;
}

/** The number at a place, and where it ends. */
export function varintAt(bytes: Uint8Array, at: number): [value: number, end: number] {
  let value = 0;
  for (let factor = 1; ; factor *= 128) {
    const byte = bytes[at++]!;
    value += (byte & 127) * factor;
    if (byte < 128) return [value, at];
  }
}

/** A number below 2^64 as a varint, in more bytes than it needs where `least` says so. */
export function varint(value: bigint, least = 1): number[] {
  const bytes: number[] = [];
  for (let rest = value; rest > 0n || bytes.length < least; rest >>= 7n)
    bytes.push(Number(rest & 127n) | 128);
  bytes[bytes.length - 1]! &= 127;
  return bytes;
}
