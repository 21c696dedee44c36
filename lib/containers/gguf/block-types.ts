/** How a type keeps numbers: so many of a row in so many bytes. */
export interface BlockType {
  /** The number that files have for it (ggml's `ggml_type`). */
  id: number;
  name: string;
  weights: number;
  bytes: number;
}

/** By their numbers. Those that were taken back, and those that are only ever computed with, have none. */
export const blockTypes: ReadonlyMap<number, BlockType> = new Map(
  (
    [
      [0, 'F32', 1, 4],
      [1, 'F16', 1, 2],
      [2, 'Q4_0', 32, 18],
      [3, 'Q4_1', 32, 20],
      [6, 'Q5_0', 32, 22],
      [7, 'Q5_1', 32, 24],
      [8, 'Q8_0', 32, 34],
      [10, 'Q2_K', 256, 84],
      [11, 'Q3_K', 256, 110],
      [12, 'Q4_K', 256, 144],
      [13, 'Q5_K', 256, 176],
      [14, 'Q6_K', 256, 210],
      [15, 'Q8_K', 256, 292],
      [16, 'IQ2_XXS', 256, 66],
      [17, 'IQ2_XS', 256, 74],
      [18, 'IQ3_XXS', 256, 98],
      [19, 'IQ1_S', 256, 50],
      [20, 'IQ4_NL', 32, 18],
      [21, 'IQ3_S', 256, 110],
      [22, 'IQ2_S', 256, 82],
      [23, 'IQ4_XS', 256, 136],
      [24, 'I8', 1, 1],
      [25, 'I16', 1, 2],
      [26, 'I32', 1, 4],
      [27, 'I64', 1, 8],
      [28, 'F64', 1, 8],
      [29, 'IQ1_M', 256, 56],
      [30, 'BF16', 1, 2],
      [34, 'TQ1_0', 256, 54],
      [35, 'TQ2_0', 256, 66],
      [39, 'MXFP4', 32, 17],
      [40, 'NVFP4', 64, 36],
      [41, 'Q1_0', 128, 18],
    ] as const
  ).map(([id, name, weights, bytes]) => [id, { id, name, weights, bytes }]),
);

const byName = new Map([...blockTypes.values()].map((type) => [type.name, type]));

/** Throws a RangeError where there is none of that name. */
export function blockTypeNamed(name: string): BlockType {
  const found = byName.get(name);
  if (!found) throw new RangeError(`There is no type of GGUF tensors called "${name}"`);
  return found;
}

/** What a tensor of a type that is not known here has for its dtype, and back. */
export const unknownType = (id: number): string => `type ${id}`;
export function typeIdOf(dtype: string): number {
  const [, id] = /^type (\d+)$/.exec(dtype) ?? [];
  return id === undefined ? blockTypeNamed(dtype).id : Number(id);
}

/** Bytes of a tensor; undefined where its rows are no whole blocks. Infinity where they are more than can be counted. */
export function blockBytes({ weights, bytes }: BlockType, shape: readonly number[]): number | undefined {
  if ((shape.at(-1) ?? 1) % weights !== 0) return undefined;
  if (shape.includes(0)) return 0;
  const length = shape.reduce((product, size) => product * size, bytes / weights);
  return length > Number.MAX_SAFE_INTEGER ? Infinity : Math.round(length);
}
