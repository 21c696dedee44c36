import { isBatchName } from '../models/data/batch-axes';
import type { DescribedValue } from '../containers/onnx/value-info';

/** Finds the axis along which the samples of a run lie in an output of such dimensions; null where none is known. */
export type OutputAxis = (dims: readonly number[], samples: number) => number | null;

/**
 * The batch axis of an output: the one that is called as those of the inputs, or as batches are; of an output whose dimensions have no names,
 * the only one if it is as long as there are samples.
 */
export function outputAxis({ dims }: DescribedValue, batchNames: ReadonlySet<string>): OutputAxis {
  const named =
    dims?.findIndex((dim) => typeof dim === 'string' && (batchNames.has(dim) || isBatchName(dim))) ?? -1;
  return (actual, samples) => {
    if (named >= 0 && actual.length === dims!.length) return named;
    return actual.length === 1 && actual[0] === samples && samples > 1 ? 0 : null;
  };
}
