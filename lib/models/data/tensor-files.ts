import { requireMemory } from '../../formats/input-file';
import { readNpy } from '../../formats/npy';
import { readNpz } from '../../formats/npz';
import { describe } from '../../options';
import { listNames, pieceOf } from './feeds';
import { forEachLine, parseLine } from './json-lines';
import { jsonTensor } from './json-tensor';
import { readSafetensors } from './safetensors';
import type { Piece } from './samples';
import { calibrationError, type ModelInput } from './tensor-checks';

/** A file of more lines is better kept as arrays. */
const maxLines = 1_000_000;

export function isTensorFile(path: string): boolean {
  return /\.(npz|npy|safetensors|jsonl|ndjson)$/i.test(path);
}

/**
 * The samples of a file of tensors: one piece, or of a `.jsonl` file a piece a line. Rejects with what reading it brings, and
 * ERR_VERTEXQ_CALIBRATION where a tensor does not fit its input.
 */
export async function readTensorFile(
  path: string,
  inputs: readonly ModelInput[],
  signal?: AbortSignal,
): Promise<Piece[]> {
  if (/\.npz$/i.test(path)) return [pieceOf(await readNpz(path), inputs, path)];
  if (/\.safetensors$/i.test(path)) return [pieceOf(await readSafetensors(path), inputs, path)];
  if (/\.npy$/i.test(path)) return [await readSingle(path, inputs)];
  return readLines(path, inputs, signal);
}

async function readSingle(path: string, inputs: readonly ModelInput[]): Promise<Piece> {
  if (inputs.length === 1) return pieceOf(new Map([[inputs[0]!.name, await readNpy(path)]]), inputs, path);
  throw calibrationError(
    path,
    `a .npy file holds one array, and the network has the inputs ${listNames(inputs)}: put them into a .npz file by name`,
  );
}

async function readLines(
  path: string,
  inputs: readonly ModelInput[],
  signal: AbortSignal | undefined,
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let bytes = 0;
  await forEachLine(
    path,
    (line, where) => {
      if (pieces.length === maxLines)
        throw calibrationError(path, `has more than ${maxLines} samples: put them into an .npz file`);
      const value = parseLine(line, where);
      if (typeof value !== 'object' || value === null || Array.isArray(value))
        throw calibrationError(where, `should be an object, {"input name": tensor}, not ${describe(value)}`);
      const given = new Map<string, unknown>(Object.entries(value));
      for (const input of inputs)
        // What is no tensor is told by the checks.
        if (given.has(input.name) && input.type !== 'unknown')
          given.set(input.name, jsonTensor(given.get(input.name), input, where));
      const piece = pieceOf(given, inputs, where);
      for (const { data } of piece.tensors.values())
        bytes += Array.isArray(data) ? 8 * data.length : data.byteLength;
      requireMemory(bytes, path);
      pieces.push(piece);
    },
    signal,
  );
  if (pieces.length === 0) throw calibrationError(path, 'has no samples: every line is blank');
  return pieces;
}
