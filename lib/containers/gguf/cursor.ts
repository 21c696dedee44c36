import { VertexqError } from '../../errors';
import type { InputFile } from '../../files/input-file';
import { describe } from '../../options/messages';
import { Turns } from '../../yielding';

const chunkBytes = 2 ** 20;
/** The header of the largest vocabulary takes a tenth of it. */
export const maxHeaderBytes = 2 ** 28;
/** More bytes than any chat template has. */
const maxTextBytes = 2 ** 24;

export const invalid = (file: string, why: string) =>
  new VertexqError('ERR_VERTEXQ_GGUF', `${file} is no valid GGUF file: ${why}`);

/** Reads a file from its beginning, a piece at a time: what is not there is an error that says what it was to be. */
export class Cursor {
  /** Bytes of the file that have been taken. */
  position = 0;
  private chunk = new DataView<ArrayBufferLike>(new ArrayBuffer(0));
  /** Of the next byte in `chunk`. */
  private at = 0;
  private readonly turns: Turns;
  private readonly decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(
    private readonly file: InputFile,
    signal?: AbortSignal,
  ) {
    this.turns = new Turns(signal);
  }

  /** Bytes that are left of the file. */
  get left(): number {
    return this.file.size - this.position;
  }

  invalid(why: string): VertexqError {
    return invalid(this.file.path, why);
  }

  async u32(what: string): Promise<number> {
    const at = await this.take(4, what);
    return this.chunk.getUint32(at, true);
  }

  /** A number of things of at least `least` bytes each, which must be there. */
  async count(what: string, least: number): Promise<number> {
    const count = await this.u64(what);
    if (count > BigInt(Math.floor(this.left / least)))
      throw this.invalid(`${what} is ${count}, and the file has only ${this.left} bytes behind it`);
    return Number(count);
  }

  async u64(what: string): Promise<bigint> {
    const at = await this.take(8, what);
    return this.chunk.getBigUint64(at, true);
  }

  async text(what: string): Promise<string> {
    const length = await this.count(`the length of ${what}`, 1);
    if (length > maxTextBytes)
      throw this.invalid(`${what} has ${length} bytes, and at most ${maxTextBytes} are allowed`);
    const at = await this.take(length, what);
    try {
      return this.decoder.decode(new Uint8Array(this.chunk.buffer, this.chunk.byteOffset + at, length));
    } catch {
      throw this.invalid(`${what} is not UTF-8`);
    }
  }

  /** A copy of the next bytes. */
  async bytes(length: number, what: string): Promise<ArrayBuffer> {
    const at = await this.take(length, what);
    return this.chunk.buffer.slice(
      this.chunk.byteOffset + at,
      this.chunk.byteOffset + at + length,
    ) as ArrayBuffer;
  }

  /** Where in `chunk` the next `length` bytes lie, which are taken. */
  private async take(length: number, what: string): Promise<number> {
    if (this.turns.due) await this.turns.next();
    if (length > this.left)
      throw this.invalid(`it ends at byte ${this.file.size}, within ${what}: is it cut off?`);
    if (this.position + length > maxHeaderBytes)
      throw this.invalid(
        `its header has more than the ${maxHeaderBytes} bytes that are allowed (${describe(what)} ends behind them)`,
      );
    if (this.at + length > this.chunk.byteLength) {
      const bytes = await this.file.read(this.position, Math.min(this.left, Math.max(length, chunkBytes)));
      this.chunk = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      this.at = 0;
    }
    const at = this.at;
    this.at += length;
    this.position += length;
    return at;
  }
}
