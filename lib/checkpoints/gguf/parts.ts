import { GgufLayout } from '../../containers/gguf/layout';
import { mostParts } from '../../containers/gguf/parts';
import { keyBytes } from '../../containers/gguf/values';
import { isFloatType } from '../../encodings/gguf/mixes';
import { bytesOf, ggufTypes } from '../../encodings/gguf/table';
import { describe, refuse } from '../../options/messages';
import { type Choice, matrixShape } from './choices';
import { converted } from './rows';
import type { Seen } from './view';

/** A tensor on its way into a file. */
export interface Piece {
  choice: Choice;
  /** As it is read: converted, where it only becomes another float type. */
  seen: Seen;
  /** Bytes that it will take. */
  byteLength: number;
}

/** What one file has. */
export interface Part {
  pieces: readonly Piece[];
  /** As they lie in it. */
  keys: readonly Uint8Array[];
}

export function pieceOf(choice: Choice): Piece {
  const { type, tensor } = choice;
  const { name, shape, rows, raw, file } = tensor;
  const seen =
    type === null ? raw! : isFloatType(type) ? converted(rows, `tensor ${describe(name)}`, type) : rows;
  const byteLength =
    type === null || isFloatType(type)
      ? seen.rows * seen.rowBytes
      : bytesOf(ggufTypes[type], matrixShape(shape));
  return { choice, seen: { name, shape, file, rows: seen }, byteLength };
}

/**
 * The tensors by the files that they go into, in their order: one, or as many as it takes for none to have more than `most` bytes, as llama.cpp has
 * them: the first with all keys, and all with what part they are. Throws a RangeError that names a tensor that is too large for any.
 */
export function inParts(
  pieces: readonly Piece[],
  keys: readonly Uint8Array[],
  most: number | undefined,
  input: string,
): Part[] {
  const whole = [{ pieces, keys }];
  if (most === undefined) return whole;
  const alone = new Filling(keys, most);
  if (pieces.every((piece) => alone.take(piece))) return whole;
  const splits = splitKeys(0, 0, 0);
  let part = new Filling([...keys, ...splits], most);
  if (!part.isHeld)
    refuse(
      ['maxFileSize'],
      `The keys of ${input} take more than the ${most} bytes that the "maxFileSize" option allows a file`,
    );
  const parts = [part];
  for (const piece of pieces) {
    if (part.take(piece)) continue;
    parts.push((part = new Filling(splits, most)));
    if (part.take(piece)) continue;
    const { name } = piece.choice.tensor;
    refuse(
      ['maxFileSize'],
      `Tensor ${describe(name)} takes ${piece.byteLength} bytes, and the "maxFileSize" option allows a file ${most} with all that it has: tensors stay whole`,
    );
  }
  if (parts.length > mostParts)
    refuse(
      ['maxFileSize'],
      `The output would have ${parts.length} parts of at most ${most} bytes ("maxFileSize"), and at most ${mostParts} are allowed`,
    );
  return parts.map(({ pieces: own }, number) => ({
    pieces: own,
    keys: [...(number === 0 ? keys : []), ...splitKeys(number, parts.length, pieces.length)],
  }));
}

/** A file that takes tensors while it has room. */
class Filling {
  readonly pieces: Piece[] = [];
  private readonly layout = new GgufLayout();
  private readonly keyBytes: number;

  constructor(
    keys: readonly Uint8Array[],
    private readonly most: number,
  ) {
    this.keyBytes = keys.reduce((sum, { length }) => sum + length, 0);
  }

  /** Whether there is room for the keys alone. */
  get isHeld(): boolean {
    return this.layout.sizeWith(this.keyBytes) <= this.most;
  }

  /** Whether there is room for it: then it is in. */
  take(piece: Piece): boolean {
    const { name, shape } = piece.choice.tensor;
    const { byteLength } = piece;
    if (this.layout.sizeWith(this.keyBytes, { name, shape, byteLength }) > this.most) return false;
    this.layout.place(name, 'F32', shape, byteLength);
    this.pieces.push(piece);
    return true;
  }
}

const splitKeys = (number: number, count: number, tensors: number): Uint8Array[] => [
  keyBytes('split.no', { type: 'u16', value: number }),
  keyBytes('split.count', { type: 'u16', value: count }),
  keyBytes('split.tensors.count', { type: 'i32', value: tensors }),
];
