import type { CheckedTensor, TensorData } from './tensor-checks';

/** Elements `begin` to `end` of a tensor along an axis. */
export interface Slice {
  tensor: CheckedTensor;
  begin: number;
  end: number;
}

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

/** Slices one behind the other along an axis, the other dimensions being equal: a view where that is one run of one tensor. */
export function joinSlices(slices: readonly Slice[], axis: number): CheckedTensor {
  const { tensor } = slices[0]!;
  const { dims, type } = tensor;
  const length = slices.reduce((sum, { begin, end }) => sum + end - begin, 0);
  const joined = [...dims.slice(0, axis), length, ...dims.slice(axis + 1)];
  if (slices.length === 1 && length === dims[axis]) return { data: tensor.data, dims: joined, type };
  // Runs in front of the axis, and elements of each of its steps.
  const runs = count(dims.slice(0, axis));
  const step = count(dims.slice(axis + 1));
  if (slices.length === 1 && runs === 1) return { data: cutOut(slices[0]!, 0, step), dims: joined, type };
  const parts: TensorData[] = [];
  for (let run = 0; run < runs; run++)
    for (const slice of slices) parts.push(cutOut(slice, run * slice.tensor.dims[axis]! * step, step));
  return { data: joinParts(parts, runs * length * step), dims: joined, type };
}

/** A slice's elements of the run that starts at `from`. */
function cutOut({ tensor: { data }, begin, end }: Slice, from: number, step: number): TensorData {
  const [first, last] = [from + begin * step, from + end * step];
  // One element type stands for all.
  return Array.isArray(data) ? data.slice(first, last) : (data as Float64Array).subarray(first, last);
}

function joinParts(parts: readonly TensorData[], length: number): TensorData {
  if (Array.isArray(parts[0])) return (parts as string[][]).flat();
  const target = new (parts[0]!.constructor as Float64ArrayConstructor)(length);
  let at = 0;
  for (const part of parts as Float64Array[]) {
    target.set(part, at);
    at += part.length;
  }
  return target;
}
