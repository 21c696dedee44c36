import { VertexqError } from '../../errors';
import { describe } from '../../options/messages';
import { Turns } from '../../yielding';
import type { TensorEntry } from '../tensor-file';
import { byteLengthOf, elementsOf, isKnown } from './dtypes';
import { HeaderError, HeaderScanner } from './header-scanner';

export interface Header {
  /** By name, in the order of their bytes. */
  tensors: Map<string, TensorEntry>;
  metadata: Map<string, string>;
  /** Of the first byte after the header. */
  dataStart: number;
}

/** Bytes before the header: its length. */
export const prefixBytes = 8;
/** More characters than the name of any tensor has. */
export const maxNameLength = 4096;
/** What the reference implementation takes. */
export const maxHeaderBytes = 100_000_000;

const invalid = (file: string, why: string) =>
  new VertexqError('ERR_VERTEXQ_SAFETENSORS', `${file} is no valid safetensors file: ${why}`);

/** The header's length from the file's first 8 bytes. Throws ERR_VERTEXQ_SAFETENSORS. */
export function headerLength(prefix: Uint8Array, fileSize: number, file: string): number {
  const length = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes).getBigUint64(0, true);
  if (length > BigInt(maxHeaderBytes))
    throw invalid(file, `its header should have ${length} bytes, and at most ${maxHeaderBytes} are allowed`);
  if (Number(length) > fileSize - prefixBytes)
    throw invalid(file, `its header should have ${length} bytes, and the whole file has ${fileSize}`);
  if (length < 2n) throw invalid(file, `its header has ${length} bytes, and "{}" is the least`);
  return Number(length);
}

/** Reads and checks a header against the file's size; the event loop goes on meanwhile. Rejects with ERR_VERTEXQ_SAFETENSORS, or the signal's reason. */
export async function parseHeader(
  bytes: Uint8Array,
  fileSize: number,
  file: string,
  signal?: AbortSignal,
): Promise<Header> {
  if (bytes[0] !== 0x7b) throw invalid(file, 'its header does not begin with "{"');
  const dataStart = prefixBytes + bytes.length;
  try {
    const turns = new Turns(signal);
    const { tensors, metadata } = await scan(textOf(bytes), dataStart, turns);
    return { tensors: await inOrder(tensors, dataStart, fileSize, turns), metadata, dataStart };
  } catch (error) {
    if (error instanceof HeaderError) throw invalid(file, error.message);
    throw error;
  }
}

function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new HeaderError('its header is not UTF-8');
  }
}

async function scan(
  text: string,
  dataStart: number,
  turns: Turns,
): Promise<Pick<Header, 'tensors' | 'metadata'>> {
  const scanner = new HeaderScanner(text);
  const tensors = new Map<string, TensorEntry>();
  const metadata = new Map<string, string>();
  let hasMetadata = false;
  await scanner.longObject('a tensor', turns, (name) => {
    if (name === '__metadata__') {
      if (hasMetadata) throw new HeaderError('its header has "__metadata__" twice');
      hasMetadata = true;
      return scanner.longObject('a metadata entry', turns, (key) => {
        if (metadata.has(key)) throw new HeaderError(`its metadata has ${describe(key)} twice`);
        metadata.set(key, scanner.string(`the text of the metadata entry ${describe(key)}`));
      });
    }
    if (name.length > maxNameLength)
      throw new HeaderError(
        `tensor ${describe(name)} has a name of ${name.length} characters, and at most ${maxNameLength} are allowed`,
      );
    if (tensors.has(name)) throw new HeaderError(`its header has the tensor ${describe(name)} twice`);
    tensors.set(name, scanTensor(scanner, name, dataStart));
    return undefined;
  });
  scanner.end();
  return { tensors, metadata };
}

function scanTensor(scanner: HeaderScanner, name: string, dataStart: number): TensorEntry {
  let dtype: string | undefined;
  let shape: number[] | undefined;
  let offsets: number[] | undefined;
  scanner.subject = name;
  scanner.object('a property', (key) => {
    if (key === 'dtype' && dtype === undefined) dtype = scanner.string('the dtype');
    else if (key === 'shape' && shape === undefined) shape = scanner.counts('a dimension');
    else if (key === 'data_offsets' && offsets === undefined) offsets = scanner.counts('an offset');
    else
      throw new HeaderError(
        `tensor ${describe(name)} has ${['dtype', 'shape', 'data_offsets'].includes(key) ? 'twice' : 'an unknown'} property ${describe(key)}`,
      );
  });
  scanner.subject = null;
  return checkTensor(name, dtype, shape, offsets, dataStart);
}

function checkTensor(
  name: string,
  dtype: string | undefined,
  shape: number[] | undefined,
  offsets: number[] | undefined,
  dataStart: number,
): TensorEntry {
  const fail = (why: string): never => {
    throw new HeaderError(`tensor ${describe(name)} ${why}`);
  };
  if (dtype === undefined || shape === undefined || offsets === undefined)
    return fail('needs a dtype, a shape and data_offsets');
  if (offsets.length !== 2) fail(`has ${offsets.length} data_offsets, and not begin and end`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) fail(`begins at byte ${begin} and ends before, at ${end}`);
  if (elementsOf(shape) === Infinity) fail(`has more entries than can be counted: [${shape.join(', ')}]`);
  const expected = isKnown(dtype) ? byteLengthOf(dtype, shape) : end - begin;
  if (expected !== end - begin)
    fail(
      `has ${end - begin} bytes, and ${dtype} [${shape.join(', ')}] takes ${expected ?? 'parts of a byte'}`,
    );
  return { dtype, shape, byteLength: end - begin, position: dataStart + begin };
}

/** Whether the header names the tensors as their bytes lie, as nearly all do. */
async function isInOrder(tensors: ReadonlyMap<string, TensorEntry>, turns: Turns): Promise<boolean> {
  let end = 0;
  for (const { position, byteLength } of tensors.values()) {
    if (turns.due) await turns.next();
    if (position < end) return false;
    end = position + byteLength;
  }
  return true;
}

/** The tensors as their bytes lie, which must leave no byte out and share none. */
async function inOrder(
  tensors: Map<string, TensorEntry>,
  dataStart: number,
  fileSize: number,
  turns: Turns,
): Promise<Map<string, TensorEntry>> {
  const endOf = ({ position, byteLength }: TensorEntry) => position + byteLength;
  const ordered = (await isInOrder(tensors, turns))
    ? tensors
    : new Map([...tensors].sort(([, a], [, b]) => a.position - b.position || endOf(a) - endOf(b)));
  let end = dataStart;
  let last: string | null = null;
  const before = () => (last === null ? 'the header' : `tensor ${describe(last)}`);
  for (const [name, tensor] of ordered) {
    if (turns.due) await turns.next();
    if (tensor.position < end)
      throw new HeaderError(`tensor ${describe(name)} begins before ${before()} has ended`);
    if (tensor.position > end)
      throw new HeaderError(
        `between ${before()} and tensor ${describe(name)} lie ${tensor.position - end} bytes that belong to no tensor`,
      );
    end = endOf(tensor);
    last = name;
  }
  if (end > fileSize)
    throw new HeaderError(
      `${before()} ends at byte ${end}, and the file has only ${fileSize}: is it cut off?`,
    );
  if (end < fileSize)
    throw new HeaderError(`after ${before()} come ${fileSize - end} bytes that belong to no tensor`);
  return ordered;
}
