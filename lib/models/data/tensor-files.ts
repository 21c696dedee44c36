import { InputFile, requireMemory } from '../../files/input-file';
import { isolated } from '../../workers/isolated';
import { listNames, piecesOf, requireNames } from './feeds';
import { bytesOf, type JsonLinesTask, readPieces } from './json-lines-task';
import { readTensors } from './read-tensors';
import type { Piece } from './samples';
import { calibrationError, checkHeader, type ModelInput } from './tensor-checks';

/** Bytes of JSON that are read within milliseconds: longer files are read in a process of their own. */
const shortFile = 2 ** 18;
/** What a line of JSON may take. */
const jsonLimits = { seconds: 60, heap: 4096 };

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
  if (/\.(jsonl|ndjson)$/i.test(path)) return readLines(path, inputs, signal);
  if (/\.npy$/i.test(path) && inputs.length !== 1)
    throw calibrationError(
      path,
      `a .npy file holds one array, and the network has the inputs ${listNames(inputs)}: put them into a .npz file by name`,
    );
  const tensors = await readTensors(path, inputs[0]!.name, {
    names: (names) => void requireNames(names, inputs, path),
    tensor: (name, dims, type) => {
      const input = inputs.find((one) => one.name === name);
      if (input) checkHeader({ dims, type }, input, path);
    },
    signal,
  });
  return piecesOf(tensors, inputs, path, signal);
}

async function readLines(
  path: string,
  inputs: readonly ModelInput[],
  signal: AbortSignal | undefined,
): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let bytes = 0;
  const onPart = (part: Piece[]) => {
    for (const piece of part) {
      bytes += bytesOf(piece);
      pieces.push(piece);
    }
    requireMemory(bytes, path);
  };
  const task: JsonLinesTask = { path, inputs };
  const { size } = await InputFile.with(path, (file) => Promise.resolve(file));
  if (size <= shortFile)
    await readPieces(
      task,
      { part: (part) => onPart(part as Piece[]), enter: () => {}, warn: () => {} },
      signal,
    );
  else
    await isolated('jsonLines', task, {
      ...jsonLimits,
      signal,
      onPart,
      nameOf: ([, line]) => `${path}, line ${line}`,
      what: 'the reading of JSON',
      wayOut: 'put the samples into an .npz file',
    });
  if (pieces.length === 0) throw calibrationError(path, 'has no samples: every line is blank');
  return pieces;
}
