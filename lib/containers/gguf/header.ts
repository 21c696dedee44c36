import type { InputFile } from '../../files/input-file';
import { describe } from '../../options/messages';
import type { TensorEntry } from '../tensor-file';
import { type BlockType, blockBytes, blockTypes, unknownType } from './block-types';
import { Cursor } from './cursor';

type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

/** Of a key: an array of flags is one of bytes. */
export type MetadataValue = number | bigint | boolean | string | readonly string[] | NumberArray;

export interface Header {
  version: number;
  metadata: Map<string, MetadataValue>;
  /** Where in the file each key lies, its name and the type of its value included: [begin, end). */
  places: Map<string, readonly [begin: number, end: number]>;
  /** By name, in the order of their bytes; shapes as everywhere here, the dimension whose entries lie together last. */
  tensors: Map<string, TensorEntry>;
  /** Bytes that every tensor's place is a multiple of, after the header. */
  alignment: number;
  /** Bytes of the header. */
  length: number;
}

const [magic, foreignMagic] = [0x46554747, 0x47475546];
const versions = [2, 3];
const [boolType, textType, arrayType] = [7, 8, 9];
const numberArrays = new Map<number, { new (buffer: ArrayBuffer): NumberArray; BYTES_PER_ELEMENT: number }>([
  [0, Uint8Array],
  [1, Int8Array],
  [2, Uint16Array],
  [3, Int16Array],
  [4, Uint32Array],
  [5, Int32Array],
  [6, Float32Array],
  [boolType, Uint8Array],
  [10, BigUint64Array],
  [11, BigInt64Array],
  [12, Float64Array],
]);
/** A key without a name that holds a byte, and a tensor without a name and dimensions. */
const [leastKeyBytes, leastTensorBytes] = [13, 24];
const maxNameBytes = 4096;
const maxRank = 4;
const [defaultAlignment, maxAlignment] = [32, 2 ** 20];

/** Reads and checks all that tells of a file's tensors, against its size; the event loop goes on meanwhile. Rejects with ERR_VERTEXQ_GGUF, or the signal's reason. */
export async function readHeader(file: InputFile, signal?: AbortSignal): Promise<Header> {
  const cursor = new Cursor(file, signal);
  const version = await versionOf(cursor);
  const tensorCount = await cursor.count('the number of tensors', leastTensorBytes);
  const keyCount = await cursor.count('the number of keys', leastKeyBytes);
  const metadata = new Map<string, MetadataValue>();
  const places: Header['places'] = new Map();
  for (let i = 0; i < keyCount; i++) {
    const begin = cursor.position;
    const key = await nameOf(cursor, `key ${i + 1} of ${keyCount}`);
    if (metadata.has(key)) throw cursor.invalid(`it has the key ${describe(key)} twice`);
    const what = `the value of ${describe(key)}`;
    metadata.set(key, await valueOf(cursor, await cursor.u32(`the type of ${describe(key)}`), what));
    places.set(key, [begin, cursor.position]);
  }
  const alignment = alignmentOf(cursor, metadata.get('general.alignment'));
  const found: [string, TensorEntry][] = [];
  for (let i = 0; i < tensorCount; i++)
    found.push(await tensorOf(cursor, `tensor ${i + 1} of ${tensorCount}`, alignment));
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  return {
    version,
    metadata,
    places,
    tensors: placed(cursor, found, dataStart, file.size),
    alignment,
    length: cursor.position,
  };
}

async function versionOf(cursor: Cursor): Promise<number> {
  const found = await cursor.u32('its first four bytes');
  if (found === foreignMagic) throw cursor.invalid('it is of the other byte order (big endian)');
  if (found !== magic) throw cursor.invalid('it does not begin with "GGUF"');
  const version = await cursor.u32('its version');
  if (versions.includes(version)) return version;
  throw cursor.invalid(
    (version & 0xffff) === 0 && version !== 0
      ? 'it is of the other byte order (big endian)'
      : `its version is ${version}, and known are ${versions.join(' and ')}`,
  );
}

async function nameOf(cursor: Cursor, what: string): Promise<string> {
  const name = await cursor.text(`the name of ${what}`);
  if (name.length > maxNameBytes)
    throw cursor.invalid(
      `${what} has a name of ${name.length} characters, and at most ${maxNameBytes} are allowed`,
    );
  return name;
}

async function valueOf(cursor: Cursor, type: number, what: string): Promise<MetadataValue> {
  if (type === textType) return cursor.text(what);
  if (type !== arrayType) {
    const [value] = await numbersOf(cursor, type, 1, what);
    return type === boolType ? value !== 0 : value!;
  }
  const own = await cursor.u32(`the type of the entries of ${what}`);
  if (own === arrayType) throw cursor.invalid(`${what} is an array of arrays, which no file has`);
  const count = await cursor.count(
    `the number of entries of ${what}`,
    own === textType ? 8 : bytesOf(cursor, own, what),
  );
  if (own !== textType) return numbersOf(cursor, own, count, what);
  const texts: string[] = [];
  for (let i = 0; i < count; i++) texts.push(await cursor.text(`entry ${i} of ${what}`));
  return texts;
}

async function numbersOf(cursor: Cursor, type: number, count: number, what: string): Promise<NumberArray> {
  const bytes = await cursor.bytes(count * bytesOf(cursor, type, what), what);
  return new (numberArrays.get(type)!)(bytes);
}

function bytesOf(cursor: Cursor, type: number, what: string): number {
  const Kind = numberArrays.get(type);
  if (!Kind) throw cursor.invalid(`${what} is of type ${type}, which is none`);
  return Kind.BYTES_PER_ELEMENT;
}

function alignmentOf(cursor: Cursor, given: MetadataValue | undefined): number {
  if (given === undefined) return defaultAlignment;
  if (typeof given === 'number' && given >= 1 && given <= maxAlignment && Number.isInteger(Math.log2(given)))
    return given;
  throw cursor.invalid(
    `"general.alignment" should be a power of two from 1 to ${maxAlignment}, and is ${describe(given)}`,
  );
}

/** A tensor with its place counted from where the data begin. */
async function tensorOf(cursor: Cursor, place: string, alignment: number): Promise<[string, TensorEntry]> {
  const name = await nameOf(cursor, place);
  const what = `tensor ${describe(name)}`;
  const rank = await cursor.u32(`the number of dimensions of ${what}`);
  if (rank > maxRank)
    throw cursor.invalid(`${what} has ${rank} dimensions, and at most ${maxRank} are allowed`);
  const shape: number[] = [];
  for (let i = 0; i < rank; i++) {
    const size = await cursor.u64(`the shape of ${what}`);
    if (size > BigInt(Number.MAX_SAFE_INTEGER))
      throw cursor.invalid(`${what} has a dimension of ${size} entries, more than can be counted`);
    shape.unshift(Number(size));
  }
  const id = await cursor.u32(`the type of ${what}`);
  const type = blockTypes.get(id);
  const position = await cursor.u64(`the place of ${what}`);
  if (position % BigInt(alignment) !== 0n)
    throw cursor.invalid(`${what} lies at byte ${position}, which is no multiple of ${alignment}`);
  // One that is too large for a number is beyond any file's end all the same.
  const entry = { dtype: type?.name ?? unknownType(id), shape, position: Number(position) };
  return [name, { ...entry, byteLength: type ? lengthOf(cursor, what, type, shape) : upToTheNext }];
}

/** The length of a tensor of an unknown type, until the others are known. */
const upToTheNext = -1;

function lengthOf(cursor: Cursor, what: string, type: BlockType, shape: readonly number[]): number {
  const length = blockBytes(type, shape);
  if (length === undefined)
    throw cursor.invalid(
      `${what} has rows of ${shape.at(-1) ?? 1} entries, and ${type.name} takes multiples of ${type.weights}`,
    );
  if (length === Infinity)
    throw cursor.invalid(`${what} has more entries than can be counted: [${shape.join(', ')}]`);
  return length;
}

/** The tensors as their bytes lie, which no two share. */
function placed(
  cursor: Cursor,
  found: [string, TensorEntry][],
  dataStart: number,
  fileSize: number,
): Header['tensors'] {
  const tensors: Header['tensors'] = new Map();
  let end = dataStart;
  let before = 'the header';
  found.sort(([, a], [, b]) => a.position - b.position || a.byteLength - b.byteLength);
  for (const [i, [name, entry]] of found.entries()) {
    const what = `tensor ${describe(name)}`;
    if (tensors.has(name)) throw cursor.invalid(`it has ${what} twice`);
    const position = dataStart + entry.position;
    if (position < end) throw cursor.invalid(`${what} begins before ${before} has ended`);
    const next = dataStart + (found[i + 1]?.[1].position ?? fileSize - dataStart);
    const byteLength = entry.byteLength === upToTheNext ? Math.max(0, next - position) : entry.byteLength;
    end = position + byteLength;
    if (end > fileSize)
      throw cursor.invalid(`${what} ends at byte ${end}, and the file has only ${fileSize}: is it cut off?`);
    before = what;
    tensors.set(name, { ...entry, byteLength, position });
  }
  return tensors;
}
