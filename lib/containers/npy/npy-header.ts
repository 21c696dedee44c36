import { VertexqError } from '../../errors';

/** A number format of `.npy` files: its name there without byte order, NumPy's, and that of safetensors files. */
export interface NpyFormat {
  descr: string;
  type: string;
  dtype: string;
  bytes: number;
}

const npyFormats: readonly NpyFormat[] = [
  { descr: 'f2', type: 'float16', dtype: 'F16', bytes: 2 },
  { descr: 'f4', type: 'float32', dtype: 'F32', bytes: 4 },
  { descr: 'f8', type: 'float64', dtype: 'F64', bytes: 8 },
  { descr: 'i1', type: 'int8', dtype: 'I8', bytes: 1 },
  { descr: 'i2', type: 'int16', dtype: 'I16', bytes: 2 },
  { descr: 'i4', type: 'int32', dtype: 'I32', bytes: 4 },
  { descr: 'i8', type: 'int64', dtype: 'I64', bytes: 8 },
  { descr: 'u1', type: 'uint8', dtype: 'U8', bytes: 1 },
  { descr: 'u2', type: 'uint16', dtype: 'U16', bytes: 2 },
  { descr: 'u4', type: 'uint32', dtype: 'U32', bytes: 4 },
  { descr: 'u8', type: 'uint64', dtype: 'U64', bytes: 8 },
  { descr: 'b1', type: 'bool', dtype: 'BOOL', bytes: 1 },
];

export interface NpyHeader {
  format: NpyFormat;
  /** Whether the first index runs fastest. */
  fortran: boolean;
  dims: number[];
  /** Product of `dims`. */
  length: number;
  /** Where the data begins, and where the file ends. */
  offset: number;
  end: number;
}

/** Bytes from which `npyHeaderEnd` can tell where a header ends. */
export const npyPreamble = 12;

/** NumPy itself writes up to 64 dimensions, and headers over 64 KiB only for structured dtypes. */
const maxRank = 64;
const maxHeader = 2 ** 16;

const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

export function npyError(file: string, message: string): VertexqError {
  return new VertexqError('ERR_VERTEXQ_NPY', `${file}: ${message}`);
}

/** Where the data of a `.npy` file begins, from its first `npyPreamble` bytes. Throws ERR_VERTEXQ_NPY. */
export function npyHeaderEnd(bytes: Uint8Array, file: string): number {
  if (magic.some((byte, i) => bytes[i] !== byte))
    throw npyError(
      file,
      `not a .npy file: it does not begin with "\\x93NUMPY"${bytes.length < 6 ? `, it has ${bytes.length} bytes` : ''}`,
    );
  if (bytes.length < npyPreamble)
    throw npyError(file, `truncated: it ends after ${bytes.length} bytes, in the header`);
  const [major, minor] = [bytes[6]!, bytes[7]!];
  if (major < 1 || major > 3 || minor !== 0)
    throw npyError(file, `expected version 1.0, 2.0 or 3.0 of the .npy format, not ${major}.${minor}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > maxHeader)
    throw npyError(file, `a header of ${length} bytes, where up to ${maxHeader} are expected`);
  return start + length;
}

/** Parses the header of a `.npy` file (NumPy's NEP 1), of which `bytes` is the beginning. Throws ERR_VERTEXQ_NPY. */
export function parseNpyHeader(bytes: Uint8Array, file: string): NpyHeader {
  const offset = npyHeaderEnd(bytes, file);
  if (bytes.length < offset)
    throw npyError(file, `truncated: its header ends at byte ${offset}, the file at byte ${bytes.length}`);
  const start = bytes[6] === 1 ? 10 : 12;
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, offset - start).toString('latin1');
  const entries = new DictParser(text, file).parse();
  const { descr, fortran_order: fortran, shape } = Object.fromEntries(entries);
  for (const name of ['descr', 'fortran_order', 'shape'])
    if (!entries.has(name)) throw npyError(file, `the header has no "${name}"`);
  if (entries.size > 3)
    throw npyError(
      file,
      `the header has the keys ${[...entries.keys()].map(quote).join(', ')}: expected "descr", "fortran_order" and "shape"`,
    );
  const format = formatOf(descr, file);
  if (typeof fortran !== 'boolean') throw npyError(file, `"fortran_order" is neither True nor False`);
  const dims = dimsOf(shape, file);
  const length = elementCount(dims);
  const end = offset + length * format.bytes;
  if (!Number.isSafeInteger(end))
    throw npyError(file, `the shape (${dims.join(', ')}) has more numbers than any file can hold`);
  return { format, fortran, dims, length, offset, end };
}

/** Product of `dims`, 0 if any is 0; not a safe integer if it is too large for one. */
export function elementCount(dims: readonly number[]): number {
  return dims.includes(0) ? 0 : dims.reduce((product, dim) => product * dim, 1);
}

function formatOf(descr: unknown, file: string): NpyFormat {
  if (typeof descr !== 'string')
    throw npyError(file, 'structured dtypes hold no tensor: save each field as an array of its own');
  const order = descr.charAt(0);
  const kind = descr.slice(1);
  if (kind.startsWith('O'))
    throw npyError(
      file,
      'the dtype object ("|O") holds Python objects, not numbers: convert it with .astype(numpy.float32)',
    );
  const format = npyFormats.find((candidate) => candidate.descr === kind);
  if (!format || !'<>|='.includes(order)) {
    const supported = npyFormats.map((candidate) => candidate.type).join(', ');
    throw npyError(file, `the dtype ${quote(descr)} is not supported: expected one of ${supported}`);
  }
  if (format.bytes > 1 && order === '>')
    throw npyError(
      file,
      `big-endian numbers (dtype ${quote(descr)}) are not supported: convert them with .astype("<${kind}")`,
    );
  if (format.bytes > 1 && order !== '<')
    throw npyError(file, `the dtype ${quote(descr)} has no byte order: expected "<${kind}"`);
  return format;
}

function dimsOf(shape: unknown, file: string): number[] {
  if (!Array.isArray(shape)) throw npyError(file, '"shape" is not a tuple of whole numbers');
  if (shape.length > maxRank) throw npyError(file, `${shape.length} dimensions: expected up to ${maxRank}`);
  for (const dim of shape as number[])
    if (!(Number.isSafeInteger(dim) && dim >= 0))
      throw npyError(file, `the shape has the dimension ${dim}: expected whole numbers from 0`);
  return shape as number[];
}

/** Short, and with control characters escaped. */
function quote(text: string): string {
  return JSON.stringify(text.length > 40 ? `${text.slice(0, 37)}...` : text);
}

type Value = string | boolean | number[] | null;

/** The subset of Python's literals that NumPy writes: a dict of strings, booleans and tuples of integers. */
class DictParser {
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly file: string,
  ) {}

  parse(): Map<string, Value> {
    const entries = new Map<string, Value>();
    this.expect('{');
    while (!this.accept('}')) {
      const key = this.string();
      if (entries.has(key)) throw npyError(this.file, `the header has the key ${quote(key)} twice`);
      this.expect(':');
      entries.set(key, this.value());
      if (!this.accept(',')) {
        this.expect('}');
        break;
      }
    }
    this.skipSpace();
    if (this.at < this.text.length) this.fail('the end of the header');
    return entries;
  }

  /** A list, as structured dtypes have, ends the parsing: nothing after it matters. */
  private value(): Value {
    this.skipSpace();
    if (this.text[this.at] === '[')
      throw npyError(this.file, 'structured dtypes hold no tensor: save each field as an array of its own');
    if (this.text[this.at] === "'" || this.text[this.at] === '"') return this.string();
    if (this.accept('True')) return true;
    if (this.accept('False')) return false;
    if (this.accept('None')) return null;
    return this.tuple();
  }

  private tuple(): number[] {
    this.expect('(');
    const numbers: number[] = [];
    while (!this.accept(')')) {
      numbers.push(this.integer());
      if (this.accept(',')) continue;
      // In Python, (3) is a number and (3,) a tuple.
      if (numbers.length === 1) this.fail('","');
      this.expect(')');
      break;
    }
    return numbers;
  }

  private integer(): number {
    this.skipSpace();
    // Python 2 wrote long integers with an L.
    const found = /^(-?\d+)L?/.exec(this.text.slice(this.at, this.at + 400));
    if (!found) return this.fail('a whole number');
    this.at += found[0].length;
    return Number(found[1]);
  }

  private string(): string {
    this.skipSpace();
    const found = /^(?:'([^'\\\n]*)'|"([^"\\\n]*)")/.exec(this.text.slice(this.at, this.at + 400));
    if (!found) return this.fail('a string');
    this.at += found[0].length;
    return found[1] ?? found[2] ?? '';
  }

  private accept(token: string): boolean {
    this.skipSpace();
    if (!this.text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  private expect(token: string): void {
    if (!this.accept(token)) this.fail(`"${token}"`);
  }

  private skipSpace(): void {
    while (' \n\t\r'.includes(this.text.charAt(this.at) || 'x')) this.at++;
  }

  private fail(expected: string): never {
    const found = this.at < this.text.length ? quote(this.text.slice(this.at, this.at + 12)) : 'its end';
    throw npyError(this.file, `expected ${expected} at character ${this.at} of the header, found ${found}`);
  }
}
