import { closest, distance } from 'fastest-levenshtein';
import { describe } from '../../options';
import { madeInputs } from './made-inputs';
import type { Piece } from './samples';
import { calibrationError, checkTensor, type CheckedTensor, type ModelInput } from './tensor-checks';

/** Feeds as a map. Throws a TypeError that begins with `expected` where they are none. */
export function entriesOf(feeds: unknown, expected: string): Map<string, unknown> {
  if (typeof feeds !== 'object' || feeds === null || Array.isArray(feeds) || ArrayBuffer.isView(feeds))
    throw new TypeError(`${expected}, not ${describe(feeds)}`);
  if ('data' in feeds && 'dims' in feeds && ArrayBuffer.isView(feeds.data))
    throw new TypeError(`${expected}, not a single tensor: give it by its input's name`);
  return new Map(Object.entries(feeds));
}

/**
 * Checks one feed: every input there that vertexq does not fill, and no other, each of the right type and shape, all with as many
 * samples.
 */
export function pieceOf(
  given: ReadonlyMap<string, unknown>,
  inputs: readonly ModelInput[],
  where: string,
): Piece {
  const names = inputs.map(({ name }) => name);
  const absent = inputs.filter(({ name }) => !given.has(name));
  const made = absent.length === 0 ? [] : madeInputs(inputs, new Set(given.keys()));
  const missing = absent.filter((input) => !made.includes(input));
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
  for (const input of inputs)
    if (!made.includes(input)) tensors.set(input.name, checkTensor(given.get(input.name), input, where));
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

export function listNames(inputs: readonly ModelInput[]): string {
  const shown = inputs.slice(0, 10).map(({ name }) => describe(name));
  return inputs.length > 10 ? `${shown.join(', ')} and ${inputs.length - 10} more` : shown.join(', ');
}
