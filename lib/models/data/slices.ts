import type { Turns } from '../../yielding';
import type { CheckedTensor, TensorData } from './tensor-checks';

/** Elements `begin` to `end` of a tensor along an axis. */
export interface Slice {
  tensor: CheckedTensor;
  begin: number;
  end: number;
}

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

/**
 * Slices one behind the other along an axis, the other dimensions being equal: a view where that is one run of one tensor. Numbers are copied
 * in turns.
 */
export async function joinSlices(
  slices: readonly Slice[],
  axis: number,
  turns: Turns,
): Promise<CheckedTensor> {
  const { tensor } = slices[0]!;
  const { dims, type } = tensor;
  const length = slices.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const joined = [...dims.slice(0, axis), length, ...dims.slice(axis + 1)];
  if (slices.length === 1 && length === dims[axis]) return { data: tensor.data, dims: joined, type };
  // Runs in front of the axis, and elements of each of its steps.
  const runs = count(dims.slice(0, axis));
  const step = count(dims.slice(axis + 1));
  if (slices.length === 1 && runs === 1) return { data: cutOut(slices[0]!, 0, step), dims: joined, type };
  const data = roomFor(tensor.data, runs * length * step);
  let at = 0;
  for (let run = 0; run < runs; run++)
    for (const slice of slices) {
      const part = cutOut(slice, run * slice.tensor.dims[axis]! * step, step);
      await copyInTurns(part, data, at, turns);
      at += part.length;
    }
  return { data, dims: joined, type };
}

/** A slice's elements of the run that starts at `from`. */
function cutOut({ tensor: { data }, begin, end }: Slice, from: number, step: number): TensorData {
  const [first, last] = [from + begin * step, from + end * step];
  // One element type stands for all.
  return Array.isArray(data) ? data.slice(first, last) : (data as Float64Array).subarray(first, last);
}

/** Room for so many elements like those of `data`. */
export const roomFor = (data: TensorData, length: number): TensorData =>
  Array.isArray(data)
    ? new Array<string>(length).fill('')
    : new (data.constructor as Float64ArrayConstructor)(length);

/** Elements that are copied at once. */
const atOnce = 2 ** 18;

/** Copies elements to a place among others. */
export async function copyInTurns(from: TensorData, to: TensorData, at: number, turns: Turns): Promise<void> {
  for (let begin = 0; begin < from.length; begin += atOnce) {
    if (turns.due) await turns.next();
    const end = Math.min(from.length, begin + atOnce);
    if (Array.isArray(from)) for (let i = begin; i < end; i++) (to as string[])[at + i] = from[i]!;
    // One element type stands for all.
    else (to as Float64Array).set((from as Float64Array).subarray(begin, end), at + begin);
  }
}
