import type { FloatArray } from '../../lib/index';

/** Uniform numbers in [0, 1), the same for the same seed. */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function normals(count: number, seed: number): Float64Array {
  const next = random(seed);
  return Float64Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
}

/** Whole numbers from -most to most: their products and sums are exact. */
export function integers(count: number, most: number, seed: number): Float64Array {
  const next = random(seed);
  return Float64Array.from({ length: count }, () => Math.floor(next() * (2 * most + 1)) - most);
}

/** A·B for row-major A, [rows, inner], and B, [inner, cols]. */
export function product(
  a: FloatArray,
  b: FloatArray,
  rows: number,
  inner: number,
  cols: number,
): Float64Array {
  const out = new Float64Array(rows * cols);
  for (let i = 0; i < rows; i++)
    for (let k = 0; k < inner; k++)
      for (let j = 0; j < cols; j++) out[i * cols + j]! += a[i * inner + k]! * b[k * cols + j]!;
  return out;
}

/** XᵀX of row-major X, [rows, cols]. */
export function gramOf(x: FloatArray, cols: number): Float64Array {
  const out = new Float64Array(cols * cols);
  for (let row = 0; row < x.length; row += cols)
    for (let i = 0; i < cols; i++)
      for (let j = 0; j < cols; j++) out[i * cols + j]! += x[row + i]! * x[row + j]!;
  return out;
}

/** ‖X v‖ for v = a − b, or a where there is no b. */
export function outputNorm(x: FloatArray, a: FloatArray, b?: FloatArray): number {
  const v = Float64Array.from(a, (value, i) => value - (b?.[i] ?? 0));
  let sum = 0;
  for (let row = 0; row < x.length; row += v.length) {
    let dot = 0;
    for (let i = 0; i < v.length; i++) dot += x[row + i]! * v[i]!;
    sum += dot * dot;
  }
  return Math.sqrt(sum);
}

export function norm(a: FloatArray, b?: FloatArray): number {
  return Math.hypot(...a.map((value, i) => value - (b?.[i] ?? 0)));
}

/** ‖X(W − Q)ᵀ‖ / ‖XWᵀ‖, Frobenius; without X of the weights themselves. */
export function relativeError(
  weight: FloatArray,
  changed: FloatArray,
  inFeatures: number,
  x?: FloatArray,
): number {
  const w = Float64Array.from(weight);
  const q = Float64Array.from(changed);
  let [error, signal] = [0, 0];
  for (let first = 0; first < w.length; first += inFeatures) {
    const [a, b] = [w.subarray(first, first + inFeatures), q.subarray(first, first + inFeatures)];
    error += (x ? outputNorm(x, a, b) : norm(a, b)) ** 2;
    signal += (x ? outputNorm(x, a) : norm(a)) ** 2;
  }
  return error === 0 ? 0 : Math.sqrt(error / signal);
}

export interface Size {
  outFeatures: number;
  inFeatures: number;
  samples: number;
  seed: number;
}

/** Rows whose inputs go together, as those of networks do: the later directions ever weaker. */
export function correlated(samples: number, n: number, seed: number, mixSeed = 99): Float64Array {
  const mix = normals(n * n, mixSeed).map((value, i) => value / Math.sqrt(1 + Math.floor(i / n)));
  return product(normals(samples * n, seed), mix, samples, n, n);
}

export function layerOf({ outFeatures, inFeatures, samples, seed }: Size) {
  return {
    weight: Float32Array.from(normals(outFeatures * inFeatures, seed)),
    activations: Float32Array.from(correlated(samples, inFeatures, seed + 1, seed + 3)),
    outFeatures,
    inFeatures,
  };
}
