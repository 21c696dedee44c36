import { describe } from '../options/messages';
import type { LayerInput } from '../types';
import { compareLayer } from './compare-layer';
import { compareModel } from './compare-model';
import type { CompareOptions, Comparison } from './types';

/**
 * Quantizes a model or a layer with several methods at several widths, and reports their errors side by side. Writes no file.
 *
 * For a model (the path of an ONNX file; the option `calibration` is needed) each run goes through its layers as `quantizeModel` does,
 * on the same samples, and its network is then run on the held-out ones beside the float network. For a layer its data is read once.
 * A layer's grid defaults to that of `quantizeLayer`, a model's to that of `quantizeModel`.
 *
 * Rejects with a TypeError or RangeError for arguments, checked before any work for all runs; with what `quantizeModel` and
 * `quantizeLayer` reject with; with the signal's reason when aborted.
 */
export async function compareMethods(
  input: string | LayerInput,
  options: CompareOptions = {},
): Promise<Comparison> {
  if (typeof input === 'string') return compareModel(input, options);
  if (typeof input !== 'object' || input === null)
    throw new TypeError(
      `Expected the input to be the path of an ONNX file or a layer, not ${describe(input)}`,
    );
  return compareLayer(input, options);
}
