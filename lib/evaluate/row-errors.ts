import { isFloatArray } from '../realms';

/** Numbers of a float output. */
export type FloatData = Float32Array | Float64Array;

/** The rows of an output: `length` entries, `stride` apart. */
export interface Rows {
  length: number;
  stride: number;
}

/**
 * The rows that an output is compared by. They are along its last axis, but never across samples: along the one before where the
 * samples are on the last axis (`batchAxis`), and of one entry where they have no other.
 */
export function rowsOf(dims: readonly number[], batchAxis: number | null): Rows {
  const last = dims.length - 1;
  if (last < 0) return { length: 1, stride: 1 };
  if (batchAxis !== last) return { length: dims[last]!, stride: 1 };
  return { length: last === 0 ? 1 : dims[last - 1]!, stride: dims[last]! };
}

/**
 * Adds up how far a tensor of a quantized network is from that of the float network, row by row. Sums are taken in double precision,
 * in the order of the data.
 */
export class RowErrors {
  rows = 0;
  /** Σ(y − x)²: infinite where only one of the two is finite. */
  error = 0;
  /** Σx². */
  signal = 0;
  /** The largest |y − x|. */
  largest = 0;
  /** Elements that are NaN or infinite. */
  notFinite = { float: 0, quantized: 0 };
  /** Rows of two entries and more, and those of them whose largest entry is at the same place. */
  ranked = { rows: 0, agreeing: 0 };
  private cosines = 0;
  private counted = 0;

  add(wanted: FloatData, got: FloatData, rows: Rows): void {
    const { length, stride } = rows;
    // Rows that are interleaved, `stride` of them, are one behind the other before the next ones.
    for (let block = 0; block < wanted.length; block += length * stride)
      for (let start = block; start < block + stride; start++) {
        this.addRow(wanted, got, start, { length, stride });
        if (length < 2) continue;
        this.ranked.rows++;
        if (argMax(wanted, start, length, stride) === argMax(got, start, length, stride))
          this.ranked.agreeing++;
      }
  }

  private addRow(wanted: FloatData, got: FloatData, start: number, { length, stride }: Rows): void {
    let [error, a, b, ab] = [0, 0, 0, 0];
    for (let i = start; i < start + length * stride; i += stride) {
      const [x, y] = [wanted[i]!, got[i]!];
      const finite = Number.isFinite(x) && Number.isFinite(y);
      if (!finite) {
        if (!Number.isFinite(x)) this.notFinite.float++;
        if (!Number.isFinite(y)) this.notFinite.quantized++;
        // Masks leave infinities: equal ones are no error, and no signal.
        if (!Object.is(x, y)) error = this.largest = Infinity;
        continue;
      }
      const difference = Math.abs(y - x);
      if (difference > this.largest) this.largest = difference;
      error += difference * difference;
      a += x * x;
      b += y * y;
      ab += x * y;
    }
    this.error += error;
    this.signal += a;
    this.rows++;
    if (a === 0 && b === 0) return;
    this.cosines += a === 0 || b === 0 ? 0 : ab / Math.sqrt(a * b);
    this.counted++;
  }

  /** ‖Y′ − Y‖ / ‖Y‖, Frobenius. */
  get relative(): number {
    return this.error === 0 ? 0 : Math.sqrt(this.error / this.signal);
  }

  /** Mean over the rows; null where all of them are 0. */
  get cosine(): number | null {
    return this.counted === 0 ? null : this.cosines / this.counted;
  }
}

/** Where the largest of `width` numbers is, the first of equal ones; −1 where all are NaN. */
function argMax(data: FloatData, start: number, width: number, stride: number): number {
  let [best, most] = [-1, NaN];
  for (let i = 0; i < width; i++) {
    const value = data[start + i * stride]!;
    if (value > most || (best < 0 && !Number.isNaN(value))) [best, most] = [i, value];
  }
  return best;
}

export function isFloat(data: unknown): data is FloatData {
  return isFloatArray(data);
}
