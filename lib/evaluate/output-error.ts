import type { ModelOutputs, OutputError } from './types';

/** Adds up how far outputs are from those of the float network. */
export class OutputErrorSum {
  private error = 0;
  private signal = 0;
  private cosines = 0;
  private counted = 0;
  private rows = 0;

  /** Adds the float outputs of one feed. An output of another shape than the float network's is infinitely far. */
  add(float: ModelOutputs, quantized: ModelOutputs): void {
    for (const [name, { data: wanted, dims }] of Object.entries(float)) {
      if (!isFloat(wanted)) continue;
      const got = quantized[name]?.data;
      if (!isFloat(got) || quantized[name]!.dims.join() !== dims.join()) this.error = Infinity;
      else this.addRows(wanted, got, dims.at(-1) ?? 1);
    }
  }

  private addRows(wanted: FloatData, got: FloatData, width: number): void {
    for (let start = 0; start < wanted.length; start += width) {
      let [error, a, b, ab] = [0, 0, 0, 0];
      for (let i = start; i < start + width; i++) {
        const [x, y] = [wanted[i]!, got[i]!];
        // Masks leave infinities: equal ones are no error, and no signal.
        if (Object.is(x, y) && !Number.isFinite(x)) continue;
        if (!Number.isFinite(x) || !Number.isFinite(y)) {
          error = Infinity;
          continue;
        }
        error += (y - x) ** 2;
        a += x * x;
        b += y * y;
        ab += x * y;
      }
      this.error += error;
      this.signal += a;
      this.rows++;
      if (a === 0 && b === 0) continue;
      this.cosines += a === 0 || b === 0 ? 0 : ab / Math.sqrt(a * b);
      this.counted++;
    }
  }

  /** null where there was no float output. */
  result(): OutputError | null {
    if (this.rows === 0 && this.error === 0) return null;
    return {
      error: this.error === 0 ? 0 : Math.sqrt(this.error / this.signal),
      cosine: this.counted === 0 ? null : this.cosines / this.counted,
      rows: this.rows,
    };
  }
}

type FloatData = Float32Array | Float64Array;

function isFloat(data: unknown): data is FloatData {
  return data instanceof Float32Array || data instanceof Float64Array;
}
