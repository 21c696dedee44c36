import { estimateSeconds } from '../models/forward/trial';
import { layerMemory } from '../fit/layer-memory';
import { drawingCost } from '../decoders/draw-texts';
import type { OpenDecoder } from '../decoders/open';
import { widthOf } from '../decoders/shape';
import { weightedBy } from '../models/curvature/weighted-by';
import { Workspace } from '../runs/workspace';
import { needsOf } from '../traversal/needs';
import { streamsOf, sweepRuns, tuningRuns, worksOf } from '../traversal/work';
import type { CheckpointSettings } from './checkpoint-options';
import { aliveNumbers, type CheckpointNetwork } from './network';
import type { Plan } from './plan';
import { forwardOf } from './run-network';

/** What the run of a language model takes. */
export interface NetworkEstimate {
  /** Of all data, that held out included. */
  tokens: number;
  seconds: number;
  memory: number;
}

/** Products that take as long as it takes to go over a number. */
const perNumber = 40;
/** How often that is done with a token's entries in a block, with those of its feed forward, and with a score. */
const visits = { hidden: 20, feedForward: 5, score: 5 };

export async function estimateNetwork(
  network: CheckpointNetwork,
  plan: Plan,
  settings: CheckpointSettings,
): Promise<NetworkEstimate> {
  const { opened, data } = network;
  // Nothing is made of the workspace while the network does not run.
  const { forward, memory } = forwardOf(network, plan, new Workspace('', ''), settings, null);
  const { blocks, heads, headSize, hidden } = opened.shape;
  const shared = blocks.map(({ experts }) => (experts ? experts.perToken / experts.count : 1));
  const weighted = weightedBy(settings.options.weighting);
  const isSwept = weighted.rows || weighted.channels;
  const { time } = settings.options;
  const works = worksOf(forward, weighted).map((given) => {
    // Passes take what is left of the time.
    const work = time === undefined ? given : { ...given, passes: 0 };
    if (!work.layer.routed) return work;
    const share = Math.min(...shared);
    return { ...work, products: work.products * share, sums: work.sums * share };
  });
  const streams = streamsOf(forward);
  const feeds = [...data.fit, ...data.holdout].map(({ input_ids }) => input_ids!.dims as [number, number]);
  const scores = heads * sumOf(feeds, ([texts, length]) => texts * length ** 2);
  const { rows: tokens } = forward;
  let products = blocks.length * scores * (2 * headSize + visits.score * perNumber);
  for (const block of blocks)
    products += tokens * perNumber * (visits.hidden * hidden + visits.feedForward * widthOf(block));
  const runs = streams + (isSwept ? sweepRuns : 0) + tuningRuns(forward);
  // Forward to draw from, and back.
  const head = isSwept ? 2 * tokens * hidden * opened.shape.vocabulary : 0;
  const drawing = settings.options.ownSamples === undefined ? null : costOfDrawing(opened, feeds);
  const seconds = await estimateSeconds(
    works,
    runs * products + head + (drawing?.products ?? 0),
    settings.options,
  );
  const fits = needsOf(forward, weighted).reduce((most, needs) => Math.max(most, layerMemory(needs)), 0);
  const widest = Math.max(...blocks.map(({ feedForward }) => feedForward));
  const largest = forward.stages.reduce(
    (most, { layers }) =>
      Math.max(
        most,
        sumOf(layers, (layer) => layer.inFeatures * layer.outFeatures),
      ),
    0,
  );
  const atOnce = Math.max(...feeds.map(([texts, length]) => aliveNumbers(opened.shape, texts, length)));
  const numbers =
    // What lives between two stages, beyond `memory` in files; weights as they are read, as they are given to the runtime, and there.
    Math.min(memory / 4, streams * tokens * (3 * hidden + 2 * widest)) +
    3 * Math.ceil(streams) * largest +
    atOnce;
  const whole = Math.max(seconds, time ?? 0);
  return { tokens, seconds: whole, memory: 4 * Math.max(numbers + fits / 4, drawing?.numbers ?? 0) };
}

/** Of few rows at once a product of matrices takes half as long again; keys and values are copied twice for each token. */
function costOfDrawing(opened: OpenDecoder, feeds: readonly (readonly [number, number])[]) {
  const length = feeds[0]![1];
  const count = sumOf(feeds, ([texts]) => texts);
  const { numbers, weights, cacheOfToken } = drawingCost(opened, [count, length]);
  return { numbers, products: count * length * (1.5 * weights + perNumber * cacheOfToken) };
}

const sumOf = <Item>(list: readonly Item[], of: (item: Item) => number) =>
  list.reduce((sum, item) => sum + of(item), 0);
