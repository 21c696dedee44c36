/**
 * The two inner loops of the trainer. Both keep their sums in local variables (float64, as JavaScript computes)
 * and work on several rows at once, which is what lets V8 reach about two billion multiply-adds a second per core.
 */

/**
 * C = A · Bᵀ, all row-major: A is m × k at `aOffset`, B n × k at `bOffset`, C m × n at `cOffset`.
 *
 * Reads B once and A n / 4 times: A is to be the matrix that fits in cache.
 *
 * @throws RangeError if m or n is not a multiple of 4: the kernel works on 4 × 4 tiles of C.
 */
export function multiplyTransposed(
  [m, n, k]: readonly [number, number, number],
  a: Float32Array,
  aOffset: number,
  b: Float32Array,
  bOffset: number,
  c: Float32Array,
  cOffset: number,
): void {
  if (m % 4 !== 0 || n % 4 !== 0) throw new RangeError(`${m} × ${n} is not made of 4 × 4 tiles`);
  for (let j = 0; j < n; j += 4) {
    const b0 = bOffset + j * k;
    const b1 = b0 + k;
    const b2 = b1 + k;
    const b3 = b2 + k;
    for (let i = 0; i < m; i += 4) {
      const a0 = aOffset + i * k;
      const a1 = a0 + k;
      const a2 = a1 + k;
      const a3 = a2 + k;
      let c00 = 0;
      let c01 = 0;
      let c02 = 0;
      let c03 = 0;
      let c10 = 0;
      let c11 = 0;
      let c12 = 0;
      let c13 = 0;
      let c20 = 0;
      let c21 = 0;
      let c22 = 0;
      let c23 = 0;
      let c30 = 0;
      let c31 = 0;
      let c32 = 0;
      let c33 = 0;
      for (let t = 0; t < k; t++) {
        const x0 = a[a0 + t]!;
        const x1 = a[a1 + t]!;
        const x2 = a[a2 + t]!;
        const x3 = a[a3 + t]!;
        const y0 = b[b0 + t]!;
        const y1 = b[b1 + t]!;
        const y2 = b[b2 + t]!;
        const y3 = b[b3 + t]!;
        c00 += x0 * y0;
        c01 += x0 * y1;
        c02 += x0 * y2;
        c03 += x0 * y3;
        c10 += x1 * y0;
        c11 += x1 * y1;
        c12 += x1 * y2;
        c13 += x1 * y3;
        c20 += x2 * y0;
        c21 += x2 * y1;
        c22 += x2 * y2;
        c23 += x2 * y3;
        c30 += x3 * y0;
        c31 += x3 * y1;
        c32 += x3 * y2;
        c33 += x3 * y3;
      }
      const r0 = cOffset + i * n + j;
      const r1 = r0 + n;
      const r2 = r1 + n;
      const r3 = r2 + n;
      c[r0] = c00;
      c[r0 + 1] = c01;
      c[r0 + 2] = c02;
      c[r0 + 3] = c03;
      c[r1] = c10;
      c[r1 + 1] = c11;
      c[r1 + 2] = c12;
      c[r1 + 3] = c13;
      c[r2] = c20;
      c[r2 + 1] = c21;
      c[r2 + 2] = c22;
      c[r2 + 3] = c23;
      c[r3] = c30;
      c[r3 + 1] = c31;
      c[r3 + 2] = c32;
      c[r3 + 3] = c33;
    }
  }
}

/**
 * A sparse vector, and its product with a dense matrix. Zero are four fifths of MNIST's pixels, a third or more
 * of a hidden ReLU's outputs, and four fifths of the gradients that reach a convolution through a max pool: the
 * layers gather what is left and multiply only that.
 */
export class SparseVector {
  private readonly indices: Int32Array;
  private readonly values: Float32Array;
  private count = 0;

  /** Room for `capacity` non-zeros. */
  constructor(capacity: number) {
    this.indices = new Int32Array(capacity + 3);
    this.values = new Float32Array(capacity + 3);
  }

  /** Takes the non-zeros of `length` entries of `source` at `offset`, `stride` apart. */
  gather(source: Float32Array, offset: number, length: number, stride = 1): void {
    const { indices, values } = this;
    let count = 0;
    for (let i = 0, at = offset; i < length; i++, at += stride) {
      const value = source[at]!;
      if (value !== 0) {
        indices[count] = i;
        values[count++] = value;
      }
    }
    // Up to three zeros times row 0, so that `addRows` works on whole fours.
    for (; count % 4 !== 0; count++) {
      indices[count] = 0;
      values[count] = 0;
    }
    this.count = count;
  }

  /** target += this · matrix: rows of `width` values at `matrixOffset`, the target's at `targetOffset`. */
  addRows(
    matrix: Float32Array,
    matrixOffset: number,
    width: number,
    target: Float32Array,
    targetOffset: number,
  ): void {
    const { indices, values, count } = this;
    const row = (r: number): number => matrixOffset + indices[r]! * width;
    let r = 0;
    // Eight rows at a time: the fewer passes over the target, the better.
    for (; r + 8 <= count; r += 8) {
      const [r0, r1, r2, r3] = [row(r), row(r + 1), row(r + 2), row(r + 3)];
      const [r4, r5, r6, r7] = [row(r + 4), row(r + 5), row(r + 6), row(r + 7)];
      const [x0, x1, x2, x3] = [values[r]!, values[r + 1]!, values[r + 2]!, values[r + 3]!];
      const [x4, x5, x6, x7] = [values[r + 4]!, values[r + 5]!, values[r + 6]!, values[r + 7]!];
      for (let j = 0; j < width; j++) {
        target[targetOffset + j]! +=
          x0 * matrix[r0 + j]! +
          x1 * matrix[r1 + j]! +
          x2 * matrix[r2 + j]! +
          x3 * matrix[r3 + j]! +
          (x4 * matrix[r4 + j]! + x5 * matrix[r5 + j]! + x6 * matrix[r6 + j]! + x7 * matrix[r7 + j]!);
      }
    }
    if (r < count) {
      const [r0, r1, r2, r3] = [row(r), row(r + 1), row(r + 2), row(r + 3)];
      const [x0, x1, x2, x3] = [values[r]!, values[r + 1]!, values[r + 2]!, values[r + 3]!];
      for (let j = 0; j < width; j++) {
        target[targetOffset + j]! +=
          x0 * matrix[r0 + j]! + x1 * matrix[r1 + j]! + x2 * matrix[r2 + j]! + x3 * matrix[r3 + j]!;
      }
    }
  }
}
