import type { Job } from 'bullmq';
import { joinedSums } from '../checkpoints/sharded/layer-sums';
import type { LayerSums } from '../checkpoints/sharded/types';
import { relativeError } from '../relative-error';
import { isObject } from '../realms';
import type { LayerStatus } from './types';

/** Parts whose results are asked for at a time. */
const partsAtOnce = 500;
/** More are not told of a run, and longer names not at all. */
const [mostLayers, longestName] = [20_000, 1000];

/** The layers that the parts of a run have done so far, those with the largest errors first. What Redis holds is anyone's: what is no such number is not told. */
export async function layersOf(run: Job): Promise<LayerStatus[]> {
  const found: LayerSums[] = [];
  let cursor: number | undefined = 0;
  do {
    const { processed, nextProcessedCursor } = (await run.getDependencies({
      processed: { cursor, count: partsAtOnce },
    })) as { processed?: Record<string, unknown>; nextProcessedCursor?: number };
    for (const result of Object.values(processed ?? {}))
      for (const layer of layersIn(result)) if (found.length < mostLayers) found.push(layer);
    cursor = nextProcessedCursor;
  } while (cursor && found.length < mostLayers);
  return joinedSums(found)
    .map((layer) => ({ name: layer.name, error: relativeError(layer), isFitted: layer.isFitted }))
    .sort((a, b) => b.error - a.error || (a.name < b.name ? -1 : 1));
}

function layersIn(result: unknown): LayerSums[] {
  const layers = isObject(result) && Array.isArray(result['layers']) ? (result['layers'] as unknown[]) : [];
  return layers
    .filter(isLayer)
    .map(({ name, error, signal, isFitted }) => ({ name, error, signal, isFitted }));
}

function isLayer(value: unknown): value is LayerSums {
  if (!isObject(value)) return false;
  const { name, error, signal, isFitted } = value;
  const isSum = (sum: unknown) => typeof sum === 'number' && Number.isFinite(sum) && sum >= 0;
  return (
    typeof name === 'string' &&
    name.length <= longestName &&
    isSum(error) &&
    isSum(signal) &&
    (error === 0 || signal !== 0) &&
    typeof isFitted === 'boolean'
  );
}
