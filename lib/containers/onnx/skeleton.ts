import type { InputFile } from '../../files/input-file';

// A model file is read without the data of its larger weights, which stay in the file until they are needed: what is parsed is
// the file with short stand-ins for them.

/** Bytes of a file. */
export interface Place {
  position: number;
  length: number;
}

export interface Skeleton {
  bytes: Uint8Array;
  /** What stand-ins stand for, by their offset in `bytes`. A stand-in is the `raw_data` of an initializer, `standInLength` bytes. */
  holes: Map<number, Place>;
}

export const standInLength = 8;

/** Shorter data is read with the rest. */
const shortest = 16 * 1024;

// Field numbers of the ONNX schema.
const graphOfModel = 7;
const initializerOfGraph = 5;
const rawDataOfTensor = 9;

/** A piece of the skeleton: bytes made here, bytes of the file, or a stand-in. */
type Piece = Uint8Array | { copy: Place } | { hole: Place };

/** Thrown where a field does not fit the message that it is in: the parser, given the whole file, says it better. */
class Malformed extends Error {}

/** Reads the skeleton of an ONNX file; all of the file where it is no well-formed message. Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_MEMORY. */
export async function readSkeleton(file: InputFile): Promise<Skeleton> {
  const window = new Window(file);
  let pieces: Piece[];
  try {
    pieces = await planModel(new Fields(window));
  } catch (error) {
    if (!(error instanceof Malformed)) throw error;
    pieces = [{ copy: { position: 0, length: file.size } }];
  }
  const bytes = file.blank(lengthOfAll(pieces));
  const holes = new Map<number, Place>();
  let at = 0;
  for (const piece of pieces) {
    if (piece instanceof Uint8Array) bytes.set(piece, at);
    else if ('copy' in piece)
      await window.copy(bytes.subarray(at, at + piece.copy.length), piece.copy.position);
    else holes.set(at, piece.hole);
    at += lengthOf(piece);
  }
  return { bytes, holes };
}

function planModel(fields: Fields): Promise<Piece[]> {
  const { size } = fields.window.file;
  return plan(fields, 0, size, graphOfModel, (graph) =>
    plan(fields, graph.value, graph.end, initializerOfGraph, (tensor) =>
      plan(fields, tensor.value, tensor.end, rawDataOfTensor, ({ value, end }) =>
        Promise.resolve([
          end - value < shortest ? copyOf(value, end) : { hole: { position: value, length: end - value } },
        ]),
      ),
    ),
  );
}

/** A field with its header, from `start`, and its value, from `value`, up to `end`. */
interface Field {
  number: number;
  /** Whether it has a length: a message, bytes, or a string. */
  delimited: boolean;
  start: number;
  value: number;
  end: number;
}

/** The message at [start, end) with the values of the fields of one number as `rewritten` says. */
async function plan(
  fields: Fields,
  start: number,
  end: number,
  number: number,
  rewritten: (field: Field) => Promise<Piece[]>,
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let copied = start;
  for (let at = start; at < end;) {
    const field = await fields.at(at, end);
    at = field.end;
    if (field.number !== number) continue;
    if (!field.delimited) throw new Malformed();
    const inner = await rewritten(field);
    if (!inner.some((piece) => 'hole' in piece || piece instanceof Uint8Array)) continue;
    if (copied < field.start) pieces.push(copyOf(copied, field.start));
    pieces.push(header(number, lengthOfAll(inner)));
    // One by one: there may be more than the stack holds.
    for (const piece of inner) pieces.push(piece);
    copied = field.end;
  }
  if (copied < end) pieces.push(copyOf(copied, end));
  return pieces;
}

const copyOf = (from: number, to: number): Piece => ({ copy: { position: from, length: to - from } });

function lengthOf(piece: Piece): number {
  if (piece instanceof Uint8Array) return piece.length;
  return 'copy' in piece ? piece.copy.length : standInLength;
}

const lengthOfAll = (pieces: readonly Piece[]) => pieces.reduce((sum, piece) => sum + lengthOf(piece), 0);

/** Tag and length of a delimited field. */
export function header(number: number, length: number): Uint8Array {
  const bytes: number[] = [];
  for (const value of [number * 8 + 2, length]) {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
  }
  return Uint8Array.from(bytes);
}

/** Bytes of a file, of which some behind those asked for last are at hand. */
class Window {
  private static readonly size = 64 * 1024;
  private readonly buffer = new Uint8Array(Window.size);
  private start = 0;
  private end = 0;

  constructor(readonly file: InputFile) {}

  /** The byte at a position that has been shown. */
  at(position: number): number {
    return this.buffer[position - this.start]!;
  }

  shows(start: number, length: number): boolean {
    return start >= this.start && start + length <= this.end;
  }

  /** Shows bytes, as many as there are up to the window's size. */
  async show(start: number): Promise<void> {
    const length = Math.min(Window.size, this.file.size - start);
    this.end = this.start; // nothing, until it is read
    await this.file.fill(this.buffer.subarray(0, length), start);
    this.start = start;
    this.end = start + length;
  }

  /** Fills `target` from the bytes at `position`. */
  async copy(target: Uint8Array, position: number): Promise<void> {
    if (target.length > Window.size / 2) return this.file.fill(target, position);
    if (!this.shows(position, target.length)) await this.show(position);
    target.set(this.buffer.subarray(position - this.start, position - this.start + target.length));
  }
}

/** Reads the headers of fields anywhere in a file. */
class Fields {
  /** A tag and a length are at most ten bytes each. */
  private static readonly headerSize = 20;

  constructor(readonly window: Window) {}

  /** The field that begins at `start` of a message that ends at `end`. */
  async at(start: number, end: number): Promise<Field> {
    if (!this.window.shows(start, Math.min(Fields.headerSize, end - start))) await this.window.show(start);
    let at = start;
    const varint = (): number => {
      let value = 0;
      for (let factor = 1, i = 0; i < 10 && at < end; factor *= 128, i++) {
        const byte = this.window.at(at++);
        value += (byte & 127) * factor;
        if (byte < 128) return value;
      }
      throw new Malformed();
    };
    const tag = varint();
    const wireType = tag % 8;
    let length = 0;
    if (wireType === 0) varint();
    else if (wireType === 1) length = 8;
    else if (wireType === 2) length = varint();
    else if (wireType === 5) length = 4;
    else throw new Malformed();
    if (!(at + length <= end)) throw new Malformed();
    return { number: Math.floor(tag / 8), delimited: wireType === 2, start, value: at, end: at + length };
  }
}
