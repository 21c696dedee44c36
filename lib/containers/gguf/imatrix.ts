import { VertexqError } from '../../errors';
import { InputFile, type OpenOptions } from '../../files/input-file';
import { describe } from '../../options/messages';
import { GgufFile } from './file';

/** What inputs of tensors count: by tensor, sums of the squares of each input, of several matrices (experts) one behind the other. */
export type Imatrix = ReadonlyMap<string, Float32Array>;

/** Files of a model of trillions of weights are smaller. */
const maxBytes = 2 ** 30;
const sums = '.in_sum2';

/**
 * Reads an importance matrix of llama.cpp's `llama-imatrix`, in GGUF or in the format before it (`.dat`). Sums are of any unit, tensor by tensor. Rejects with
 * ERR_VERTEXQ_FILE or ERR_VERTEXQ_GGUF, naming the file and the entry.
 */
export async function readImatrix(path: string, options: OpenOptions = {}): Promise<Imatrix> {
  const head = await InputFile.with(path, async (file) => {
    if (file.size > maxBytes)
      throw invalid(path, `it has ${file.size} bytes, and at most ${maxBytes} are allowed`);
    const magic = Buffer.from(await file.read(0, Math.min(4, file.size))).toString('latin1');
    return magic === 'GGUF' ? null : file.read(0, file.size);
  });
  const entries = head ? legacyEntries(path, head) : await ggufEntries(path, options);
  if (entries.size === 0) throw invalid(path, 'it tells of no tensors');
  for (const [name, values] of entries)
    if (!values.every((value) => value >= 0 && value < Infinity))
      throw invalid(path, `entry ${describe(name)} has a number that is no finite sum of squares`);
  return entries;
}

async function ggufEntries(path: string, options: OpenOptions): Promise<Map<string, Float32Array>> {
  return GgufFile.with(
    path,
    async (file) => {
      const entries = new Map<string, Float32Array>();
      for (const [name, { dtype }] of file.tensors) {
        if (!name.endsWith(sums)) continue;
        if (dtype !== 'F32') throw invalid(path, `tensor ${describe(name)} should be F32, and is ${dtype}`);
        entries.set(name.slice(0, -sums.length), new Float32Array((await file.read(name)).buffer));
      }
      return entries;
    },
    options,
  );
}

/** A count; of each entry the length of its name, that, how often it was called, a count of floats, and these; all of 32 bits. */
function legacyEntries(path: string, bytes: Uint8Array): Map<string, Float32Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (length: number, what: string) => {
    if (length < 0 || length > bytes.length - at)
      throw invalid(path, `${what} would end behind its ${bytes.length} bytes: is it one at all?`);
    at += length;
    return at - length;
  };
  const whole = (what: string) => view.getInt32(take(4, what), true);
  const entries = new Map<string, Float32Array>();
  const count = whole('the number of entries');
  for (let i = 0; i < count; i++) {
    const length = whole(`the length of name ${i}`);
    const begin = take(length, `name ${i}`);
    const name = Buffer.from(bytes.subarray(begin, begin + length)).toString('utf8');
    whole(`the calls of ${describe(name)}`);
    const numbers = whole(`the length of ${describe(name)}`);
    const first = take(4 * numbers, `entry ${describe(name)}`);
    entries.set(
      name,
      Float32Array.from({ length: numbers }, (_, k) => view.getFloat32(first + 4 * k, true)),
    );
  }
  return entries;
}

const invalid = (path: string, why: string) =>
  new VertexqError('ERR_VERTEXQ_GGUF', `${path} is no valid importance matrix: ${why}`);

/** Those of a weight's rows: all of them, or matrix by matrix. Throws ERR_VERTEXQ_GGUF where there are not as many as the weight has inputs. */
export function importanceOf(
  path: string,
  matrix: Imatrix,
  name: string,
  [outFeatures, inFeatures]: readonly [number, number],
): Float32Array | null {
  const values = matrix.get(name);
  if (!values) return null;
  const matrices = values.length / inFeatures;
  if (!Number.isInteger(matrices) || matrices < 1 || outFeatures % matrices !== 0)
    throw invalid(
      path,
      `entry ${describe(name)} has ${values.length} numbers, and the weight has ${inFeatures} inputs`,
    );
  return values;
}
