/** A tensor of float32 numbers. */
export interface Values {
  data: Float32Array;
  dims: readonly number[];
}

const count = (dims: readonly number[]) => dims.reduce((product, dim) => product * dim, 1);

/** The place of an element in row-major order; −1 outside. */
function placeOf(at: readonly number[], dims: readonly number[]): number {
  let place = 0;
  for (const [axis, dim] of dims.entries()) {
    if (!(at[axis]! >= 0 && at[axis]! < dim)) return -1;
    place = place * dim + at[axis]!;
  }
  return place;
}

/** All places of an array, in row-major order. */
function* placesIn(dims: readonly number[]): Generator<number[]> {
  for (let i = 0; i < count(dims); i++) {
    const at: number[] = [];
    for (let axis = dims.length - 1, rest = i; axis >= 0; axis--) {
      at[axis] = rest % dims[axis]!;
      rest = Math.floor(rest / dims[axis]!);
    }
    yield at;
  }
}

/** The lines of a tensor along an axis, each cut into `groups`: the rows of each group. */
export function linesAlong({ data, dims }: Values, axis: number, groups = 1): Float32Array[] {
  const width = dims[axis]! / groups;
  return Array.from({ length: groups }, (_, group) => {
    const rows: number[] = [];
    for (const at of placesIn(dims.map((dim, i) => (i === axis ? 1 : dim))))
      for (let i = 0; i < width; i++) rows.push(data[placeOf(at.with(axis, group * width + i), dims)]!);
    return Float32Array.from(rows);
  });
}

export interface Convolution {
  kernel: number[];
  strides: number[];
  dilations: number[];
  /** Zeros before each spatial axis. */
  before: number[];
  /** Lengths of the output's spatial axes. */
  output: number[];
  groups: number;
}

/** What each output position of a convolution is computed from, as ONNX defines it: the rows of each group. */
export function patchesOf({ data, dims }: Values, convolution: Convolution): Float32Array[] {
  const { kernel, strides, dilations, before, output, groups } = convolution;
  const channels = dims[1]! / groups;
  return Array.from({ length: groups }, (_, group) => {
    const rows: number[] = [];
    for (const [sample, ...position] of placesIn([dims[0]!, ...output]))
      for (const [channel, ...tap] of placesIn([channels, ...kernel])) {
        const space = position.map((p, i) => p * strides[i]! + tap[i]! * dilations[i]! - before[i]!);
        const place = placeOf([sample!, group * channels + channel!, ...space], dims);
        rows.push(place < 0 ? 0 : data[place]!);
      }
    return Float32Array.from(rows);
  });
}
