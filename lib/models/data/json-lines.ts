import { VertexqError } from '../../errors';
import { allocate, InputFile } from '../../files/input-file';
import type { Broken } from './broken';
import { calibrationError } from './tensor-checks';

const chunk = 2 ** 20;
/** Longer ones are no samples, and at some length no strings. */
const maxLine = 2 ** 28;

/**
 * Calls `use` for each line of a UTF-8 file that is not blank, with how messages call it, `file, line 3`, and its number. Memory: a line. Rejects with
 * ERR_VERTEXQ_FILE where the file cannot be read, ERR_VERTEXQ_CALIBRATION at a line that is no UTF-8 or longer than 256 MiB; with the
 * signal's reason when aborted.
 */
export async function forEachLine(
  path: string,
  use: (line: string, where: string, number: number) => void | Promise<void>,
  signal?: AbortSignal,
  broken?: Broken,
): Promise<void> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let number = 0;
  const end = async (parts: Uint8Array[]) => {
    const where = `${path}, line ${++number}`;
    let line: string;
    try {
      line = decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts));
    } catch (cause) {
      const error = new VertexqError('ERR_VERTEXQ_CALIBRATION', `${where}: is no UTF-8 text`, { cause });
      if (!broken) throw error;
      return broken.note(error);
    }
    if (line.trim() !== '') await use(line.endsWith('\r') ? line.slice(0, -1) : line, where, number);
  };
  await InputFile.with(path, async (file) => {
    let parts: Uint8Array[] = [];
    let length = 0;
    for (let position = 0; position < file.size; position += chunk) {
      signal?.throwIfAborted();
      const bytes = allocate(Math.min(chunk, file.size - position), path);
      await file.fill(bytes, position);
      let begin = 0;
      for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, begin)) {
        await end([...parts, bytes.subarray(begin, at)]);
        parts = [];
        length = 0;
        begin = at + 1;
      }
      if (begin < bytes.length) parts.push(bytes.subarray(begin));
      length += bytes.length - begin;
      if (length > maxLine)
        throw calibrationError(
          `${path}, line ${number + 1}`,
          `is longer than ${maxLine} bytes: a sample a line`,
        );
    }
    if (parts.length > 0) await end(parts);
  });
}

/** The object, or other value, that a line of JSON is. Throws ERR_VERTEXQ_CALIBRATION. */
export function parseLine(line: string, where: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (cause) {
    throw new VertexqError(
      'ERR_VERTEXQ_CALIBRATION',
      `${where}: is no JSON: ${(cause as Error).message}. Each line should be an object`,
      { cause },
    );
  }
}
