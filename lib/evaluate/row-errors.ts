import { isFloatArray } from '../realms';
import { Turns } from '../yielding';

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

  /** Adds a tensor's rows, and lets the event loop go on now and then. Tensors are added one after the other. */
  async add(wanted: FloatData, got: FloatData, { length, stride }: Rows): Promise<void> {
    const turns = new Turns();
    // Rows that are interleaved, `stride` of them, are one behind the other before the next ones.
    for (let block = 0; block < wanted.length; block += length * stride)
      for (let start = block; start < block + stride; start++) {
        const row = new RowSums();
        // A row may be as long as all of the output.
        for (let first = 0; first < length; first += entriesAtOnce) {
          if (turns.due) await turns.next();
          row.add(wanted, got, start, { first, end: Math.min(length, first + entriesAtOnce), stride });
        }
        this.addRow(row, length);
      }
  }

  private addRow(row: RowSums, length: number): void {
    const { a, b, ab } = row;
    this.error += row.error;
    this.signal += a;
    this.rows++;
    if (row.largest > this.largest) this.largest = row.largest;
    this.notFinite.float += row.notFinite.float;
    this.notFinite.quantized += row.notFinite.quantized;
    if (length >= 2) {
      this.ranked.rows++;
      if (row.most.wanted.at === row.most.got.at) this.ranked.agreeing++;
    }
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

/** Entries of a row that are gone through between two looks at the clock. */
const entriesAtOnce = 2 ** 16;

/** What is summed over a row's entries x of the float network and y of the quantized one. */
class RowSums {
  error = 0;
  largest = 0;
  /** Σx², Σy², Σxy. */
  a = 0;
  b = 0;
  ab = 0;
  readonly notFinite = { float: 0, quantized: 0 };
  readonly most = { wanted: new Largest(), got: new Largest() };

  add(
    wanted: FloatData,
    got: FloatData,
    start: number,
    { first, end, stride }: { first: number; end: number; stride: number },
  ): void {
    let { error, largest, a, b, ab } = this;
    for (let i = first; i < end; i++) {
      const [x, y] = [wanted[start + i * stride]!, got[start + i * stride]!];
      this.most.wanted.see(x, i);
      this.most.got.see(y, i);
      if (!(Number.isFinite(x) && Number.isFinite(y))) {
        if (!Number.isFinite(x)) this.notFinite.float++;
        if (!Number.isFinite(y)) this.notFinite.quantized++;
        // Masks leave infinities: equal ones are no error, and no signal.
        if (!Object.is(x, y)) error = largest = Infinity;
        continue;
      }
      const difference = Math.abs(y - x);
      if (difference > largest) largest = difference;
      error += difference * difference;
      a += x * x;
      b += y * y;
      ab += x * y;
    }
    Object.assign(this, { error, largest, a, b, ab });
  }
}

/** Where the largest of a row's numbers is, the first of equal ones; −1 where all are NaN. */
class Largest {
  at = -1;
  private value = NaN;

  see(value: number, at: number): void {
    if (value > this.value || (this.at < 0 && !Number.isNaN(value))) [this.at, this.value] = [at, value];
  }
}

export function isFloat(data: unknown): data is FloatData {
  return isFloatArray(data);
}
