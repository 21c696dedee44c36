import { closest, distance } from 'fastest-levenshtein';
import { VertexqError } from '../errors';
import { readNpy, type NpyArray } from '../formats/npy';
import { readNpz } from '../formats/npz';
import { describe } from '../options';
import { calibrationError, checkTensor, type CheckedTensor, type ModelInput } from './tensor-checks';
import type { Piece } from './samples';
import type { CalibrationData, Feeds } from './types';

/** An iterable that yields more feeds than this is taken not to end. */
export const maxFeeds = 1_000_000;

/** Calibration data whose every tensor fits the network's inputs. */
export interface CalibrationSource {
  pieces: Piece[];
  /** Whether the feeds are run as they were given, or the samples are cut into batches. */
  asGiven: boolean;
}

/**
 * Reads and checks calibration data; `where` names it in messages. Rejects with a TypeError where it is none, VertexqError
 * ERR_VERTEXQ_CALIBRATION where it does not fit the inputs, and with what reading its files brings.
 */
export async function readCalibration(
  data: CalibrationData,
  inputs: readonly ModelInput[],
  where: string,
): Promise<CalibrationSource> {
  const expected = `Expected "${where}" to be paths of .npz or .npy files, feeds (input name → tensor), or an iterable of feeds`;
  if (typeof data === 'string') return readFiles([data], inputs);
  if (typeof data !== 'object' || data === null) throw new TypeError(`${expected}, not ${describe(data)}`);
  if (Array.isArray(data) && data.some((item) => typeof item === 'string')) {
    const odd = (data as unknown[]).findIndex((item) => typeof item !== 'string');
    if (odd >= 0) throw new TypeError(`${expected}: not paths together with ${describe(data[odd])}`);
    return readFiles(data as string[], inputs);
  }
  if (Symbol.asyncIterator in data)
    throw new TypeError(`${expected}, not an asynchronous iterable: collect it into an array first`);
  if (!(Symbol.iterator in data))
    return { pieces: [pieceOf(entriesOf(data, expected), inputs, where)], asGiven: false };
  if (ArrayBuffer.isView(data)) throw new TypeError(`${expected}, not ${describe(data)}`);
  const pieces: Piece[] = [];
  for (const feeds of data as Iterable<Feeds>) {
    const place = `${where}[${pieces.length}]`;
    if (pieces.length === maxFeeds)
      throw new RangeError(`"${where}" has more than ${maxFeeds} feeds: put several samples into a feed`);
    pieces.push(
      pieceOf(entriesOf(feeds, `Expected "${place}" to be feeds (input name → tensor)`), inputs, place),
    );
  }
  if (pieces.length === 0) throw new RangeError(`${expected}: it is empty`);
  return { pieces, asGiven: true };
}

async function readFiles(
  paths: readonly string[],
  inputs: readonly ModelInput[],
): Promise<CalibrationSource> {
  const pieces: Piece[] = [];
  for (const path of paths) pieces.push(pieceOf(await readTensors(path, inputs), inputs, path));
  return { pieces, asGiven: false };
}

async function readTensors(path: string, inputs: readonly ModelInput[]): Promise<Map<string, NpyArray>> {
  if (/\.npz$/i.test(path)) return readNpz(path);
  if (!/\.npy$/i.test(path))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${describe(path)} is no calibration data: expected a .npz or .npy file`,
    );
  if (inputs.length === 1) return new Map([[inputs[0]!.name, await readNpy(path)]]);
  throw calibrationError(
    path,
    `a .npy file holds one array, and the network has the inputs ${listNames(inputs)}: put them into a .npz file by name`,
  );
}

function entriesOf(feeds: unknown, expected: string): Map<string, unknown> {
  if (typeof feeds !== 'object' || feeds === null || Array.isArray(feeds) || ArrayBuffer.isView(feeds))
    throw new TypeError(`${expected}, not ${describe(feeds)}`);
  if ('data' in feeds && 'dims' in feeds && ArrayBuffer.isView(feeds.data))
    throw new TypeError(`${expected}, not a single tensor: give it by its input's name`);
  return new Map(Object.entries(feeds));
}

/** Checks one feed: every input there and no other, each of the right type and shape, all with as many samples. */
function pieceOf(given: ReadonlyMap<string, unknown>, inputs: readonly ModelInput[], where: string): Piece {
  const names = inputs.map(({ name }) => name);
  const missing = inputs.filter(({ name }) => !given.has(name));
  for (const name of given.keys()) {
    if (names.includes(name)) continue;
    const hint = nearestName(name, missing.length > 0 ? missing : inputs);
    const list = `ts inputs are ${listNames(inputs)}`;
    throw calibrationError(
      where,
      `the network has no input ${describe(name)}${hint === null ? `: i${list}` : `: did you mean ${describe(hint)}? I${list}`}`,
    );
  }
  if (missing.length > 0)
    throw calibrationError(
      where,
      `no data for the input${missing.length > 1 ? 's' : ''} ${listNames(missing)}`,
    );
  const tensors = new Map<string, CheckedTensor>();
  for (const input of inputs) tensors.set(input.name, checkTensor(given.get(input.name), input, where));
  return { tensors, samples: sampleCount(tensors, where) };
}

function sampleCount(tensors: ReadonlyMap<string, CheckedTensor>, where: string): number {
  const counted = [...tensors].filter(([, { dims }]) => dims.length > 0);
  // Nothing but tensors of rank 0 is one sample.
  const samples = counted[0]?.[1].dims[0] ?? 1;
  for (const [name, { dims }] of counted)
    if (dims[0] !== samples)
      throw calibrationError(
        where,
        `the inputs should have as many samples (their first dimension), and ${describe(counted[0]![0])} has ${samples}, ${describe(name)} ${dims[0]}`,
      );
  if (samples === 0) throw calibrationError(where, 'has no samples: the first dimension is 0');
  return samples;
}

/** The input whose name is most like `name`, if one is. Distances take time with the square of the length. */
function nearestName(name: string, inputs: readonly ModelInput[]): string | null {
  const names = inputs.map((input) => input.name).filter((known) => known.length < 200);
  if (name.length >= 200 || names.length === 0) return null;
  const nearest = closest(name, names);
  return distance(name, nearest) <= Math.max(2, name.length / 3) ? nearest : null;
}

function listNames(inputs: readonly ModelInput[]): string {
  const shown = inputs.slice(0, 10).map(({ name }) => describe(name));
  return inputs.length > 10 ? `${shown.join(', ')} and ${inputs.length - 10} more` : shown.join(', ');
}
