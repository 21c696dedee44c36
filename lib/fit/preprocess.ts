import { binding } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import { alphabetKind, groupSizeFor, rankRule } from '../options';
import { checkOptions } from '../options/table';
import { methodsThat } from '../methods';
import type { LayerInput, Method, Preprocessed, PreprocessOptions } from '../types';
import { layerCalibration } from './layer-rows';
import { takeArrays } from './given-arrays';
import { checkLayer, refuseTargets, requireRoom, workOn } from './layer-input';

/** The method whose first half this is. */
const [walk] = methodsThat(({ certifies }) => certifies) as [Method];

/**
 * The pre-processing of Maly & Saab, *A simple approach for quantizing neural networks* (ACHA 2023), alone: each neuron w walks along
 * the kernel of the data X to a vertex ŵ of { z : Xz = Xw, z in a box }, where all but at most rank(X) entries are on the
 * alphabet.
 *
 * Defaults are the paper's: the box [−c, c] with c = ‖w‖∞ (`saturate`), a `zero-free` alphabet that holds ±c, and all of
 * rank(X). Rejects with a TypeError or RangeError for arguments; VertexqError ERR_VERTEXQ_NOT_FINITE at NaN or infinite numbers,
 * ERR_VERTEXQ_GRAM, ERR_VERTEXQ_NUMERIC, ERR_VERTEXQ_MEMORY; with the signal's reason when aborted.
 */
export async function preprocess(layer: LayerInput, options: PreprocessOptions = {}): Promise<Preprocessed> {
  checkOptions('preprocess', options);
  checkLayer(layer);
  refuseTargets(layer, walk);
  if (!layer.activations && !layer.gram)
    throw new RangeError('The walk needs data: give "activations" or "gram"');
  const { grid, levels, table } = alphabetKind(options, () => 'zero-free');
  const { inFeatures, outFeatures } = layer;
  const groupSize = groupSizeFor(options, inFeatures);
  const settings = {
    grid,
    levels,
    table: table ?? null,
    groupSize,
    box: options.box ?? 'saturate',
    ...rankRule(options, inFeatures, 'full'),
    threads: threadsFor(options),
  };
  const { signal, onProgress } = options;
  requireRoom(layer, walk, 'rows');
  const needed = { ...layer };
  delete needed.holdout; // there is no error here to report on it
  const done = await workOn(layer, async () => {
    const { layer: input, requireUnchanged } = await takeArrays(needed, signal);
    const { calibration } = await layerCalibration(input, 'rows', options, requireUnchanged);
    return finish(
      () =>
        binding().preprocess({
          ...settings,
          weight: input.weight,
          outFeatures,
          inFeatures,
          calibration: calibration?.native ?? null,
          holdout: null,
        }),
      signal,
      onProgress && ((finished, total) => onProgress({ stage: 'quantize', done: finished, total })),
    );
  });
  return { ...done, table: table ?? null, levels, groupSize };
}
