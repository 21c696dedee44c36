/** A value of a key with ggml's number for its type; an array has that of its entries. */
export type Value =
  | { type: 'u32' | 'f32' | 'u64' | 'u8'; value: number }
  | { type: 'bool'; value: boolean }
  | { type: 'text'; value: string }
  | { type: 'texts'; value: readonly string[] }
  | { type: 'i32s'; value: readonly number[] };

export interface Tensor {
  /** ggml's number. */
  type: number;
  /** The dimension whose entries lie together last. */
  shape: readonly number[];
  data: Uint8Array;
  /** Instead of where it would lie. */
  offset?: bigint;
}

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};

export const u64 = (value: bigint | number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

export const text = (value: string | Buffer): Buffer => {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([u64(bytes.length), bytes]);
};

function valueBytes(given: Value): Buffer[] {
  switch (given.type) {
    case 'u8':
      return [u32(0), Buffer.of(given.value)];
    case 'u32':
      return [u32(4), u32(given.value)];
    case 'f32':
      return [u32(6), Buffer.from(Float32Array.of(given.value).buffer)];
    case 'bool':
      return [u32(7), Buffer.of(Number(given.value))];
    case 'text':
      return [u32(8), text(given.value)];
    case 'u64':
      return [u32(10), u64(given.value)];
    case 'texts':
      return [u32(9), u32(8), u64(given.value.length), ...given.value.map(text)];
    case 'i32s':
      return [u32(9), u32(5), u64(given.value.length), Buffer.from(Int32Array.from(given.value).buffer)];
  }
}

export const keyBytes = (key: string, value: Value): Buffer =>
  Buffer.concat([text(key), ...valueBytes(value)]);

export const tensorBytes = (name: string, { type, shape }: Tensor, offset: bigint): Buffer =>
  Buffer.concat([text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(type), u64(offset)]);

export const begin = (tensors: number | bigint, keys: number | bigint, version = 3): Buffer =>
  Buffer.concat([Buffer.from('GGUF'), u32(version), u64(tensors), u64(keys)]);

/** The bytes of a GGUF file. */
export function gguf(
  keys: Record<string, Value>,
  tensors: readonly (readonly [string, Tensor])[] = [],
  alignment = 32,
): Buffer {
  const aligned = (bytes: Uint8Array) =>
    Buffer.concat([bytes, Buffer.alloc(-bytes.length & (alignment - 1))]);
  let at = 0;
  const places = tensors.map(([, { data }]) => (at += aligned(data).length) - aligned(data).length);
  const header = [
    begin(tensors.length, Object.keys(keys).length),
    ...Object.entries(keys).map(([key, value]) => keyBytes(key, value)),
    ...tensors.map(([name, tensor], i) => tensorBytes(name, tensor, tensor.offset ?? BigInt(places[i]!))),
  ];
  return Buffer.concat([aligned(Buffer.concat(header)), ...tensors.map(([, { data }]) => aligned(data))]);
}
