import { isFloat, RowErrors } from './row-errors';
import type { ModelOutputs, OutputError } from './types';

/** Adds up how far outputs are from those of the float network, all float outputs together. */
export class OutputErrorSum {
  private readonly sum = new RowErrors();

  /** Adds the float outputs of one feed. An output of another shape than the float network's is infinitely far. */
  add(float: ModelOutputs, quantized: ModelOutputs): void {
    for (const [name, { data: wanted, dims }] of Object.entries(float)) {
      if (!isFloat(wanted)) continue;
      const got = quantized[name]?.data;
      if (!isFloat(got) || quantized[name]!.dims.join() !== dims.join()) this.sum.error = Infinity;
      else this.sum.add(wanted, got, dims.at(-1) ?? 1);
    }
  }

  /** null where there was no float output. */
  result(): OutputError | null {
    const { rows, error, relative, cosine } = this.sum;
    return rows === 0 && error === 0 ? null : { error: relative, cosine, rows };
  }
}
