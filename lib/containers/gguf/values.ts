/** The types of values, by the numbers that files have for them. */
const types = {
  ...{ u8: 0, i8: 1, u16: 2, i16: 3, u32: 4, i32: 5, f32: 6, bool: 7, text: 8, array: 9 },
  ...{ u64: 10, i64: 11, f64: 12 },
} as const;

type NumberType = Exclude<keyof typeof types, 'bool' | 'text' | 'array'>;

/** A key's value, with its type. */
export type GgufValue =
  | { type: Exclude<NumberType, 'u64' | 'i64'>; value: number }
  | { type: 'u64' | 'i64'; value: bigint }
  | { type: 'bool'; value: boolean }
  | { type: 'text'; value: string }
  | { type: 'array'; of: Exclude<NumberType, 'u64' | 'i64'>; values: ArrayLike<number> }
  | { type: 'array'; of: 'u64' | 'i64'; values: ArrayLike<bigint> }
  | { type: 'array'; of: 'bool'; values: readonly boolean[] }
  | { type: 'array'; of: 'text'; values: readonly string[] };

/** How numbers are put into bytes. */
const writers: Readonly<
  Record<NumberType, readonly [bytes: number, put: (to: DataView, at: number, value: never) => void]>
> = {
  u8: [1, (to, at, value) => to.setUint8(at, value)],
  i8: [1, (to, at, value) => to.setInt8(at, value)],
  u16: [2, (to, at, value) => to.setUint16(at, value, true)],
  i16: [2, (to, at, value) => to.setInt16(at, value, true)],
  u32: [4, (to, at, value) => to.setUint32(at, value, true)],
  i32: [4, (to, at, value) => to.setInt32(at, value, true)],
  f32: [4, (to, at, value) => to.setFloat32(at, value, true)],
  u64: [8, (to, at, value) => to.setBigUint64(at, value, true)],
  i64: [8, (to, at, value) => to.setBigInt64(at, value, true)],
  f64: [8, (to, at, value) => to.setFloat64(at, value, true)],
};

export const u32 = (value: number): Uint8Array => numbers('u32', [value]);
export const u64 = (value: number): Uint8Array => numbers('u64', [BigInt(value)]);

/** A length and the bytes of a text. */
export function text(value: string): Uint8Array {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

/** A key with its value, as they lie in a file. */
export const keyBytes = (key: string, value: GgufValue): Uint8Array =>
  Buffer.concat([text(key), u32(types[value.type]), ...valueBytes(value)]);

function valueBytes(given: GgufValue): Uint8Array[] {
  if (given.type === 'text') return [text(given.value)];
  if (given.type === 'bool') return [Buffer.of(Number(given.value))];
  if (given.type !== 'array') return [numbers(given.type, [given.value])];
  const { of, values } = given;
  const head = [u32(types[of]), u64(values.length)];
  if (of === 'text') return [...head, ...values.map(text)];
  if (of === 'bool') return [...head, Buffer.from(values.map(Number))];
  return [...head, numbers(of, values)];
}

function numbers(type: NumberType, values: ArrayLike<number | bigint>): Uint8Array {
  const [bytes, put] = writers[type];
  const to = new DataView(new ArrayBuffer(bytes * values.length));
  for (let i = 0; i < values.length; i++) put(to, i * bytes, values[i] as never);
  return new Uint8Array(to.buffer);
}
