// The ten products of the sentence encoder with what goes into them.
import { chooseLayers } from '../../lib/models/layers/choose-layers';
import { findLayers } from '../../lib/models/layers/find-layers';
import type { Layer } from '../../lib/models/layers/layer';
import { weightOf } from '../../lib/models/layers/weight-values';
import { openModel, type OpenModel } from '../../lib/models/open-model';
import { describeValue } from '../../lib/containers/onnx/value-info';
import { loadStage } from '../../lib/models/forward/stage-network';
import { stagesOf } from '../../lib/models/forward/stages';
import { brownSentences } from '../../scripts/models/brown-corpus';
import { sentenceBatches, sentenceEncoderPath } from '../../scripts/models/sentence-encoder';

export interface RealLayer {
  name: string;
  weight: Float32Array;
  outFeatures: number;
  inFeatures: number;
  activations: Float32Array;
  holdout: Float32Array;
}

/** Every sixth sentence is held out. */
const heldOut = (index: number): boolean => index % 6 === 0;

/** What a layer sees of the first `most` tokens. */
async function rows(opened: OpenModel, layer: Layer, sentences: string[], most: number) {
  const [{ target, nodes }] = stagesOf(opened.graph, [layer]) as [ReturnType<typeof stagesOf>[number]];
  const inputs = opened.graph.inputs.map(describeValue);
  const session = await loadStage(
    { ...opened, nodes, inputs, outputs: [target], substitutes: new Map() },
    target,
  );
  const width = layer.inFeatures;
  const all = new Float32Array(most * width);
  let filled = 0;
  for (const feed of sentenceBatches(sentences, 32)) {
    const { data } = (await session.run(feed, [target]))[target]!;
    const part = (data as Float32Array).subarray(0, all.length - filled);
    all.set(part, filled);
    filled += part.length;
    if (filled === all.length) break;
  }
  await session.release();
  return all.slice(0, filled);
}

/** 20,000 rows to fit and 4,000 to judge by (fewer for the last layer: it has a row a sentence), the first `neurons` neurons. */
export async function* sentenceEncoderLayers(neurons: number): AsyncGenerator<RealLayer> {
  const file = await sentenceEncoderPath();
  const opened = await openModel(file);
  const sentences = brownSentences({ limit: 8000 });
  const [fit, held] = [false, true].map((held) => sentences.filter((_, i) => heldOut(i) === held));
  const choice = { operators: ['MatMul'], layers: undefined, skip: [] };
  for (const layer of chooseLayers(findLayers(opened.graph), file, choice).layers) {
    const outFeatures = Math.min(neurons, layer.outFeatures);
    yield {
      name: layer.name.replace(/\/MatMul$/, ''),
      weight: Float32Array.from(
        (await weightOf(layer, opened.weights)).subarray(0, outFeatures * layer.inFeatures),
      ),
      outFeatures,
      inFeatures: layer.inFeatures,
      activations: await rows(opened, layer, fit!, 20_000),
      holdout: await rows(opened, layer, held!, 4_000),
    };
  }
}
