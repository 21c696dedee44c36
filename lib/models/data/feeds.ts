import { closest, distance } from 'fastest-levenshtein';
import { describe } from '../../options/messages';
import { Turns } from '../../yielding';
import { madeInputs } from './made-inputs';
import type { Piece } from './samples';
import { joinSlices } from './slices';
import {
  batchAxisOf,
  calibrationError,
  checkTensor,
  type CheckedTensor,
  type ModelInput,
} from './tensor-checks';

/** Feeds as a map. Throws a TypeError that begins with `expected` where they are none. */
export function entriesOf(feeds: unknown, expected: string): Map<string, unknown> {
  if (typeof feeds !== 'object' || feeds === null || Array.isArray(feeds) || ArrayBuffer.isView(feeds))
    throw new TypeError(`${expected}, not ${describe(feeds)}`);
  if ('data' in feeds && 'dims' in feeds && ArrayBuffer.isView(feeds.data))
    throw new TypeError(`${expected}, not a single tensor: give it by its input's name`);
  return new Map(Object.entries(feeds));
}

/** Throws ERR_VERTEXQ_CALIBRATION unless data of these names is for the inputs. Returns those that it is for. */
export function requireNames(
  given: readonly string[],
  inputs: readonly ModelInput[],
  where: string,
): readonly ModelInput[] {
  const [names, has] = [new Set(inputs.map(({ name }) => name)), new Set(given)];
  const absent = inputs.filter(({ name }) => !has.has(name));
  const made = absent.length === 0 ? [] : madeInputs(inputs, has);
  const missing = absent.filter((input) => !made.includes(input));
  for (const name of given) {
    if (names.has(name)) continue;
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
  return inputs.filter((input) => !made.includes(input));
}

/**
 * Checks one feed: every input there that vertexq does not fill, and no other, each of the right type and shape, all with as many
 * samples.
 */
export async function pieceOf(
  given: ReadonlyMap<string, unknown>,
  inputs: readonly ModelInput[],
  where: string,
  signal?: AbortSignal,
): Promise<Piece> {
  const wanted = requireNames([...given.keys()], inputs, where);
  const tensors = new Map<string, CheckedTensor>();
  for (const input of wanted)
    tensors.set(input.name, await checkTensor(given.get(input.name), input, where, signal));
  return countedPiece(tensors, inputs, where);
}

function countedPiece(
  tensors: ReadonlyMap<string, CheckedTensor>,
  inputs: readonly ModelInput[],
  where: string,
): Piece {
  const axes = new Map<string, number | null>();
  const counted: { name: string; axis: number; samples: number }[] = [];
  for (const input of inputs) {
    const dims = tensors.get(input.name)?.dims;
    if (!dims) continue;
    const axis = batchAxisOf(input, dims.length);
    axes.set(input.name, axis);
    if (axis !== null) counted.push({ name: input.name, axis, samples: dims[axis]! });
  }
  // Where no input has samples along an axis, all of them together are one.
  const [first] = counted;
  const samples = first?.samples ?? 1;
  const place = (axis: number) => (axis === 0 ? 'first dimension' : `dimension ${axis}`);
  for (const { name, axis, samples: own } of counted)
    if (own !== samples)
      throw calibrationError(
        where,
        `the inputs should have as many samples (their ${counted.every((other) => other.axis === 0) ? 'first dimension' : 'batch axis'}), and ${describe(first!.name)} has ${samples}, ${describe(name)} ${own}` +
          `${counted.every((other) => other.axis === 0) ? '' : ` (${place(first!.axis)} and ${place(axis)})`}. The option "batchAxis" (--batch-axis) says along which axis the samples of an input lie, or that all share it`,
      );
  if (samples === 0)
    throw calibrationError(
      where,
      `has no samples: the ${place(first!.axis)} ${first!.axis === 0 ? '' : `of ${describe(first!.name)} `}is 0`,
    );
  return { tensors, axes, samples, where };
}

/** More samples than these had better lie along the network's own axis. */
const maxStacked = 1_000_000;

/**
 * Checks data in one piece, as `pieceOf`, or a stack of samples: each as the network takes it, along a dimension in front that the
 * network's input does not have. Inputs that are not stacked have their samples along their own axis, or belong to all.
 */
export async function piecesOf(
  given: ReadonlyMap<string, unknown>,
  inputs: readonly ModelInput[],
  where: string,
  signal?: AbortSignal,
): Promise<Piece[]> {
  const stacked = new Set(
    inputs.filter(({ name, dims }) => {
      const own = (given.get(name) as { dims?: unknown } | null | undefined)?.dims;
      return dims !== null && Array.isArray(own) && own.length === dims.length + 1;
    }),
  );
  if (stacked.size === 0) return [await pieceOf(given, inputs, where, signal)];
  // The dimension in front counts.
  const inStack = inputs.map((input): ModelInput => {
    if (stacked.has(input)) return { ...input, dims: [null, ...input.dims!], batchAxis: 0 };
    const axis = input.batchAxis === undefined ? 0 : input.batchAxis;
    return {
      ...input,
      dims: input.dims?.map((dim, i) => (i === axis ? null : dim)) ?? null,
      batchAxis: null,
    };
  });
  const { tensors, samples: stack } = await pieceOf(given, inStack, where, signal);
  if (stack > maxStacked)
    throw calibrationError(where, `has ${stack} stacked samples, more than ${maxStacked}: give fewer`);
  const turns = new Turns(signal);
  const sampleAt = async (
    input: ModelInput,
    tensor: CheckedTensor,
    index: number,
  ): Promise<CheckedTensor> => {
    const slice = [{ tensor, begin: index, end: index + 1 }];
    if (stacked.has(input)) {
      const { data, dims, type } = await joinSlices(slice, 0, turns);
      return { data, dims: dims.slice(1), type };
    }
    const axis = batchAxisOf(input, tensor.dims.length);
    return axis !== null && tensor.dims[axis] === stack ? joinSlices(slice, axis, turns) : tensor;
  };
  const pieces: Piece[] = [];
  for (let index = 0; index < stack; index++) {
    if (turns.due) await turns.next();
    const own = new Map<string, CheckedTensor>();
    for (const input of inputs) {
      const tensor = tensors.get(input.name);
      if (tensor) own.set(input.name, await sampleAt(input, tensor, index));
    }
    pieces.push(countedPiece(own, inputs, `${where}, sample ${index}`));
  }
  return pieces;
}

/** The input whose name is most like `name`, if one is. Distances take time with the square of the length. */
function nearestName(name: string, inputs: readonly ModelInput[]): string | null {
  const names = inputs.map((input) => input.name).filter((known) => known.length < 200);
  if (name.length >= 200 || names.length === 0) return null;
  const nearest = closest(name, names);
  return distance(name, nearest) <= Math.max(2, name.length / 3) ? nearest : null;
}

export function listNames(inputs: readonly ModelInput[]): string {
  const shown = inputs.slice(0, 10).map(({ name }) => describe(name));
  return inputs.length > 10 ? `${shown.join(', ')} and ${inputs.length - 10} more` : shown.join(', ');
}
