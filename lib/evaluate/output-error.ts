import type { OutputAxis } from './output-axis';
import { OutputErrors } from './output-errors';
import { RowErrors } from './row-errors';
import type { ModelOutputs, OutputError } from './types';

/** Adds up how far outputs are from those of the float network, all float outputs together. */
export class OutputErrorSum {
  private readonly rows = new RowErrors();
  private readonly outputs = new Map<string, OutputErrors>();

  /** `axes`: by output, where the samples of a run lie. */
  constructor(private readonly axes: ReadonlyMap<string, OutputAxis> = new Map<string, OutputAxis>()) {}

  /** Adds the outputs of one feed, of so many samples. */
  async add(float: ModelOutputs, quantized: ModelOutputs, samples = 1): Promise<void> {
    for (const [name, tensor] of Object.entries(float)) {
      if (!this.outputs.has(name))
        this.outputs.set(name, new OutputErrors(name, this.axes.get(name), this.rows));
      await this.outputs.get(name)!.add(tensor, quantized[name], samples);
    }
  }

  /** null where there was no float output. One of another shape or type than the float network's is infinitely far. */
  result(): OutputError | null {
    const { rows, relative, cosine } = this.rows;
    const differ = [...this.outputs.values()].some(({ isFloat, otherShape }) => isFloat && otherShape > 0);
    return rows === 0 && !differ ? null : { error: differ ? Infinity : relative, cosine, rows };
  }
}
