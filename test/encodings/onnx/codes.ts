import fc from 'fast-check';
import type { Codes } from '../../../lib/encodings/onnx/integer-codes';
import type * as types from '../../../lib/types';

type Grid = Exclude<types.Grid, 'float-minimum'>;

/** Levels that a grid can have: every number of bits, and odd ones. */
const levelsOf: Record<Grid, number[]> = {
  asymmetric: [3, 4, 5, 7, 8, 16, 17, 32, 64, 128, 256],
  integer: [3, 5, 7, 15, 31, 63, 127, 255],
  'zero-free': [2, 4, 8, 16, 32, 64, 128],
  'full-range': [4, 6, 8, 16, 32, 64, 128, 256],
};

/** Lowest code of a grid and its zero points. */
function ranges(grid: Grid, levels: number): { lowest: number; zeros: [number, number] | null } {
  if (grid === 'integer') return { lowest: -(levels - 1) / 2, zeros: null };
  if (grid === 'zero-free') return { lowest: -levels / 2, zeros: [-0.5, -0.5] };
  if (grid === 'full-range') return { lowest: -levels / 2, zeros: null };
  const lowest = -(2 ** (Math.ceil(Math.log2(levels)) - 1));
  return { lowest, zeros: [lowest, lowest + levels - 1] };
}

export interface Alphabet {
  grid: Grid;
  levels: number;
  seed: number;
}

export const anyAlphabet: fc.Arbitrary<Alphabet> = fc
  .record({
    grid: fc.constantFrom<Grid>('asymmetric', 'integer', 'zero-free', 'full-range'),
    pick: fc.nat(10),
    seed: fc.integer({ min: 1, max: 2 ** 31 - 2 }),
  })
  .map(({ grid, pick, seed }) => ({ grid, levels: levelsOf[grid][pick % levelsOf[grid].length]!, seed }));

/** Codes of any value that the alphabet has, with scales and zero points to match; a scale in ten is 0. */
export function codesOf(
  { grid, levels, seed }: Alphabet,
  outFeatures: number,
  inFeatures: number,
  group: number,
): Codes {
  const groupSize = Math.min(group, inFeatures);
  const { lowest, zeros } = ranges(grid, levels);
  let state = seed;
  const below = (n: number) => (state = (state * 48271) % 2147483647) % n;
  const perGroup = { length: outFeatures * Math.ceil(inFeatures / groupSize) };
  return {
    codes: Int8Array.from({ length: outFeatures * inFeatures }, () => lowest + below(levels)),
    scales: Float32Array.from(perGroup, () => (below(10) === 0 ? 0 : (1 + below(1e6)) / 7e5)),
    zeroPoints: zeros && Float32Array.from(perGroup, () => zeros[0] + below(zeros[1] - zeros[0] + 1)),
    levels,
    groupSize,
    outFeatures,
    inFeatures,
  };
}

/** A layer's values, one by one: (code − zeroPoint)·scale, rounded once. */
export function plainValues({
  codes,
  scales,
  zeroPoints,
  outFeatures,
  inFeatures,
  groupSize,
}: Codes): Float32Array {
  const groups = Math.ceil(inFeatures / groupSize);
  return Float32Array.from({ length: outFeatures * inFeatures }, (_, i) => {
    const group = Math.floor(i / inFeatures) * groups + Math.floor((i % inFeatures) / groupSize);
    return (codes[i]! - (zeroPoints?.[group] ?? 0)) * scales[group]!;
  });
}
