import type { OutputAxis } from './output-axis';
import { isFloat, RowErrors, rowsOf } from './row-errors';
import type { ModelOutputs, OutputError } from './types';

/** Adds up how far outputs are from those of the float network, all float outputs together. */
export class OutputErrorSum {
  private readonly sum = new RowErrors();

  /** `axes`: by output, where the samples of a run lie. */
  constructor(private readonly axes: ReadonlyMap<string, OutputAxis> = new Map<string, OutputAxis>()) {}

  /** Adds the float outputs of one feed, of so many samples. An output of another shape than the float network's is infinitely far. */
  add(float: ModelOutputs, quantized: ModelOutputs, samples = 1): void {
    for (const [name, { data: wanted, dims }] of Object.entries(float)) {
      if (!isFloat(wanted)) continue;
      const got = quantized[name]?.data;
      if (!isFloat(got) || quantized[name]!.dims.join() !== dims.join()) this.sum.error = Infinity;
      else this.sum.add(wanted, got, rowsOf(dims, this.axes.get(name)?.(dims, samples) ?? null));
    }
  }

  /** null where there was no float output. */
  result(): OutputError | null {
    const { rows, error, relative, cosine } = this.sum;
    return rows === 0 && error === 0 ? null : { error: relative, cosine, rows };
  }
}
