import { crc32, deflateRawSync } from 'node:zlib';

/** An entry to write; whatever is given of the sizes, offsets and marks is written in place of the truth. */
export interface ZipPart {
  name: string;
  content: Uint8Array;
  deflate?: boolean;
  /** After the compressed bytes, and counted as such. */
  padding?: Uint8Array;
  method?: number;
  flags?: number;
  crc?: number;
  size?: number;
  compressedSize?: number;
  offset?: number;
  /** Sizes and offset are moved to a zip64 extra field. */
  zip64?: boolean;
  nameBytes?: Uint8Array;
}

/** A zip archive, sound unless the parts say otherwise. */
export function buildZip(
  parts: readonly ZipPart[],
  { comment = '', entries = parts.length, zip64 = false } = {},
): Buffer {
  const pieces: Buffer[] = [];
  const directory: Buffer[] = [];
  let position = 0;
  const push = (...added: Buffer[]) => {
    for (const piece of added) {
      pieces.push(piece);
      position += piece.length;
    }
  };
  for (const part of parts) {
    const name = Buffer.from(part.nameBytes ?? Buffer.from(part.name));
    const compressed = Buffer.concat([
      part.deflate ? deflateRawSync(part.content) : part.content,
      part.padding ?? new Uint8Array(),
    ]);
    const sizes = {
      size: part.size ?? part.content.length,
      compressedSize: part.compressedSize ?? compressed.length,
      offset: part.offset ?? position,
    };
    const extra = part.zip64 ? Buffer.alloc(4 + 24) : Buffer.alloc(0);
    if (part.zip64) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(24, 2);
      for (const [i, value] of Object.values(sizes).entries())
        extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
    }
    const common = Buffer.alloc(26);
    common.writeUInt16LE(45, 0);
    common.writeUInt16LE(part.flags ?? 0, 2);
    common.writeUInt16LE(part.method ?? (part.deflate ? 8 : 0), 4);
    common.writeUInt32LE(part.crc ?? crc32(part.content), 10);
    common.writeUInt32LE(part.zip64 ? 0xffffffff : sizes.compressedSize, 14);
    common.writeUInt32LE(part.zip64 ? 0xffffffff : sizes.size, 18);
    common.writeUInt16LE(name.length, 22);
    common.writeUInt16LE(extra.length, 24);
    const attributes = Buffer.alloc(14);
    attributes.writeUInt32LE(part.zip64 ? 0xffffffff : sizes.offset, 10);
    push(Buffer.from('PK\x03\x04'), common, name, extra, compressed);
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x2d\x00'), common, attributes, name, extra]));
  }
  const start = position;
  push(...directory);
  const size = position - start;
  if (zip64) {
    const record = Buffer.alloc(56 + 20);
    record.write('PK\x06\x06', 0, 'latin1');
    record.writeBigUInt64LE(44n, 4);
    record.writeBigUInt64LE(BigInt(entries), 24);
    record.writeBigUInt64LE(BigInt(entries), 32);
    record.writeBigUInt64LE(BigInt(size), 40);
    record.writeBigUInt64LE(BigInt(start), 48);
    record.write('PK\x06\x07', 56, 'latin1');
    record.writeBigUInt64LE(BigInt(position), 64);
    record.writeUInt32LE(1, 72);
    push(record);
  }
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06', 0, 'latin1');
  end.writeUInt16LE(zip64 ? 0xffff : entries, 8);
  end.writeUInt16LE(zip64 ? 0xffff : entries, 10);
  end.writeUInt32LE(zip64 ? 0xffffffff : size, 12);
  end.writeUInt32LE(zip64 ? 0xffffffff : start, 16);
  end.writeUInt16LE(comment.length, 20);
  push(end, Buffer.from(comment));
  return Buffer.concat(pieces);
}
