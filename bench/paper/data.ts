import type { FloatArray } from '../../lib/index';
import type { MnistSplit } from '../../scripts/models/mnist';
import { mulberry32, type Random } from '../../scripts/models/trainer/random';

/** Standard normal numbers, by Box and Muller. */
export function gaussian(count: number, random: Random): Float64Array {
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++)
    values[i] = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  return values;
}

/** Numbers uniform in [−1, 1): bounded weights, as the paper asks for. */
export function uniform(count: number, random: Random): Float64Array {
  return Float64Array.from({ length: count }, () => 2 * random() - 1);
}

/** `count` different images, as rows of side × side pixels. */
export function imageRows(
  { images, count: available }: MnistSplit,
  count: number,
  side: number,
  seed: number,
): FloatArray {
  const random = mulberry32(seed);
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(Math.floor(random() * available));
  const rows = new Float64Array(count * side * side);
  let row = 0;
  for (const image of chosen) {
    const pixels = images.subarray(image * 784, (image + 1) * 784);
    rows.set(resample(pixels, 28, side), row * side * side);
    row++;
  }
  return rows;
}

/** A square image at another size: bilinear between pixel centres, the border repeated. */
export function resample(pixels: ArrayLike<number>, from: number, to: number): Float64Array {
  const places = Array.from({ length: to }, (_, i) => {
    const at = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
    const low = Math.min(Math.floor(at), from - 2);
    return { low, share: at - low };
  });
  const result = new Float64Array(to * to);
  for (const [y, down] of places.entries())
    for (const [x, right] of places.entries()) {
      const mix = (row: number): number =>
        (1 - right.share) * pixels[row * from + right.low]! +
        right.share * pixels[row * from + right.low + 1]!;
      result[y * to + x] = (1 - down.share) * mix(down.low) + down.share * mix(down.low + 1);
    }
  return result;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Least-squares slope of log y against log x. */
export function logLogSlope(points: readonly { x: number; y: number }[]): number {
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const [xs, ys] = [points.map(({ x }) => Math.log(x)), points.map(({ y }) => Math.log(y))];
  const [mx, my] = [mean(xs), mean(ys)];
  const covariance = mean(xs.map((x, i) => (x - mx) * (ys[i]! - my)));
  return covariance / mean(xs.map((x) => (x - mx) ** 2));
}
