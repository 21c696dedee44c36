/** Protobuf by hand, for files that no writer would make. */
export function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

/** A field of a length: a message, a string or bytes. */
export const field = (no: number, content: ArrayLike<number>): number[] => [
  ...varint(no * 8 + 2),
  ...varint(content.length),
  ...Array.from(content),
];

/** Messages in messages: each of the field numbers in turn, from the outside, `depth` in all. */
export function nested(fields: readonly number[], depth: number): Uint8Array {
  const headers: number[][] = [];
  let length = 0;
  for (let i = depth - 1; i >= 0; i--) {
    const header = [...varint(fields[i % fields.length]! * 8 + 2), ...varint(length)];
    headers.push(header);
    length += header.length;
  }
  return Uint8Array.from(headers.reverse().flat());
}
