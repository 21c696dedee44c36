import { describe } from '../../options/messages';
import type { TaskContext } from '../../workers/protocol';
import { pieceOf } from './feeds';
import { forEachLine, parseLine } from './json-lines';
import { jsonTensor } from './json-tensor';
import type { Piece } from './samples';
import { calibrationError, type ModelInput } from './tensor-checks';

/** A file of more lines is better kept as arrays. */
const maxLines = 1_000_000;

export interface JsonLinesTask {
  path: string;
  inputs: readonly ModelInput[];
}

/** Bytes of tensors that are passed on at once. */
const perPart = 2 ** 20;

/** Passes on the samples of a file of JSON lines, `Piece[]`: a piece a line. The units are [0, line]. */
export async function readPieces(
  { path, inputs }: JsonLinesTask,
  { enter, part }: TaskContext,
  signal?: AbortSignal,
): Promise<void> {
  let pieces: Piece[] = [];
  let bytes = 0;
  let lines = 0;
  enter(null);
  await forEachLine(
    path,
    async (line, where, number) => {
      if (lines++ === maxLines)
        throw calibrationError(path, `has more than ${maxLines} samples: put them into an .npz file`);
      enter([0, number]);
      const piece = await pieceOfLine(line, inputs, where);
      enter(null);
      pieces.push(piece);
      bytes += bytesOf(piece);
      if (bytes < perPart) return;
      part(pieces);
      [pieces, bytes] = [[], 0];
    },
    signal,
  );
  part(pieces);
}

function pieceOfLine(line: string, inputs: readonly ModelInput[], where: string): Promise<Piece> {
  const parsed = parseLine(line, where);
  const isIds = Array.isArray(parsed) && inputs.some(({ name }) => name === 'input_ids');
  const value = isIds ? { input_ids: parsed } : parsed;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw calibrationError(where, `should be an object, {"input name": tensor}, not ${describe(value)}`);
  const given = new Map<string, unknown>(Object.entries(value));
  for (const input of inputs)
    // What is no tensor is told by the checks.
    if (given.has(input.name) && input.type !== 'unknown')
      given.set(input.name, jsonTensor(given.get(input.name), input, where));
  return pieceOf(given, inputs, where);
}

export function bytesOf({ tensors }: Piece): number {
  let bytes = 0;
  for (const { data } of tensors.values()) bytes += Array.isArray(data) ? 8 * data.length : data.byteLength;
  return bytes;
}
