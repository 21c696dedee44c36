import { atOnce } from '../at-once';
import { InputFile } from '../files/input-file';
import type { OutputFile } from '../files/output-file';
import { Buffers } from '../native/buffers';
import { checksum } from '../native/checksum';
import { describe } from '../options/messages';

/** What an output's checksum is called: in the metadata of ONNX and safetensors files, in those of GGUF files. */
export const checksumKey = 'vertexq.checksum';

const [kind, digits] = ['xxh64:', 16];
/** What stands in its place until all other bytes are there. */
export const noChecksum = kind + '0'.repeat(digits);
const zero = '0'.charCodeAt(0);

/** What lies between key and value: in JSON, in GGUF's type and length, in protobuf's tag and length. */
const between = ['":"', `\b\0\0\0${String.fromCharCode(noChecksum.length)}${'\0'.repeat(7)}`, `\x12${String.fromCharCode(noChecksum.length)}`]; // prettier-ignore
const marks = between.map((bytes) => Buffer.from(checksumKey + bytes + kind, 'latin1'));
const longestMark = Math.max(...marks.map(({ length }) => length));

/** Bytes that have a checksum together. */
export const pieceBytes = 2 ** 24;
/** Some are read while others are computed with. */
export const piecesAtOnce = 3;

/** A file whose bytes are read. */
export interface Summed {
  size: number;
  fill(target: Uint8Array, position: number): Promise<unknown>;
}

/** The XXH64 of each 16 MiB of a file. `before`: may change what was read. Rejects with what reading brings; with the signal's reason. */
export async function pieceSums(
  file: Summed,
  buffers: Buffers,
  signal: AbortSignal | undefined,
  before: (bytes: Uint8Array, position: number) => void = () => {},
): Promise<string[]> {
  const { size } = file;
  const begins = Array.from({ length: Math.ceil(size / pieceBytes) }, (_, i) => i * pieceBytes);
  const sums: string[] = [];
  await atOnce(begins, piecesAtOnce, async (begin, i) => {
    signal?.throwIfAborted();
    const bytes = buffers.take(Math.min(pieceBytes, size - begin));
    await file.fill(bytes, begin);
    before(bytes, begin);
    sums[i] = await checksum(bytes);
    buffers.give(bytes);
  });
  return sums;
}

/**
 * The checksum of an output of one or several files, whose first has its digits at `place`: XXH64 of the sizes of the files, each followed by a space, the XXH64 of each 16 MiB of it and a line feed; the digits
 * themselves are read as zeros.
 */
async function sumOf(
  files: readonly Summed[],
  place: number,
  signal: AbortSignal | undefined,
): Promise<string> {
  const buffers = new Buffers();
  const blank = (bytes: Uint8Array, position: number) => withoutDigits(bytes, position, place);
  const lines: string[] = [];
  for (const [i, file] of files.entries()) {
    const sums = await pieceSums(file, buffers, signal, i === 0 ? blank : undefined);
    lines.push(`${file.size} ${sums.join('')}\n`);
  }
  return checksum(Buffer.from(lines.join('')));
}

/** Bytes of a file from `position` on as they were before it had its checksum, whose digits stand at `place`. */
export function withoutDigits(bytes: Uint8Array, position: number, place: number): void {
  const [begin, end] = [Math.max(place, position), Math.min(place + digits, position + bytes.length)];
  if (begin < end) bytes.fill(zero, begin - position, end - position);
}

/** Where in a file the digits of its checksum stand; undefined where it has none. */
export async function checksumPlace(file: Summed, signal?: AbortSignal): Promise<number | undefined> {
  const { size } = file;
  const step = pieceBytes - longestMark - digits;
  const room = Buffer.alloc(Math.min(pieceBytes, size));
  for (let begin = 0; begin < size; begin += step) {
    signal?.throwIfAborted();
    const bytes = room.subarray(0, Math.min(room.length, size - begin));
    await file.fill(bytes, begin);
    const places = marks.flatMap((mark) => {
      const at = bytes.indexOf(mark);
      return at < 0 || at + mark.length + digits > bytes.length ? [] : [begin + at + mark.length];
    });
    if (places.length > 0) return Math.min(...places);
  }
  return undefined;
}

/** A file on its way, as far as it is written: so many bytes. */
export const summedOutput = (file: Pick<OutputFile, 'fill'>, size: number): Summed => ({
  size,
  fill: (target, position) => file.fill(target, position),
});

/** Writes the checksum of an output into its first file, of `size` bytes, which says `noChecksum` and is whole but for it. Rejects with what reading and writing bring. */
export async function writeChecksum(
  file: Pick<OutputFile, 'fill' | 'write'>,
  size: number,
  others: readonly Summed[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const first = summedOutput(file, size);
  const place = await checksumPlace(first, signal);
  if (place === undefined) throw new Error('the output has no place for its checksum');
  await file.write(Buffer.from(await sumOf([first, ...others], place, signal)), place, signal);
}

/** Files of a network's data, in the order in which its checksum takes them. */
export const byNames = <File>(files: readonly File[], nameOf: (file: File) => string): File[] =>
  [...files].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));

/** What comparing an output with checksums has shown. */
export interface SumCheck {
  /** Files that were compared, and their bytes that have checksums. */
  files: number;
  bytes: number;
  faults: string[];
}

/** Compares the files of an output with the checksum that the first says of itself; null where it says none. Rejects with ERR_VERTEXQ_FILE. */
export async function checkChecksum(
  paths: readonly string[],
  told: string | undefined,
  signal: AbortSignal | undefined,
): Promise<SumCheck | null> {
  if (told === undefined) return null;
  const opened: InputFile[] = [];
  try {
    for (const path of paths) opened.push(await InputFile.open(path));
    const place = /^xxh64:[0-9a-f]{16}$/.test(told) ? await checksumPlace(opened[0]!, signal) : undefined;
    const isSame = place !== undefined && (await sumOf(opened, place, signal)) === told.slice(kind.length);
    const whole = describe(paths[0]!) + (paths.length > 1 ? ' or its data' : '');
    const what = place === undefined ? `says a checksum of itself that this version does not read, ${describe(told.slice(0, 40))}` : 'is not as it was written: its checksum is another'; // prettier-ignore
    return {
      files: opened.length,
      bytes: opened.reduce((sum, { size }) => sum + size, 0),
      faults: isSame ? [] : [`${whole} ${what}`],
    };
  } finally {
    for (const file of opened) await file.close();
  }
}
