// The ten products of the sentence encoder with what goes into them.
import { upTo } from '../../lib/models/capture';
import { findLayers, weightOf } from '../../lib/models/find-layers';
import { modelBytes, readModel } from '../../lib/models/onnx/codec';
import { Graph } from '../../lib/models/onnx/graph';
import { loadSession, runSession } from '../../lib/models/runtime';
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

async function rows(bytes: Uint8Array, target: string, width: number, sentences: string[], most: number) {
  const session = await loadSession(bytes, target);
  const all = new Float32Array(most * width);
  let filled = 0;
  for (const feed of sentenceBatches(sentences, 32)) {
    const { data } = (await runSession(session, feed, [target], target))[target]!;
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
  const { model } = await readModel(await sentenceEncoderPath());
  const sentences = brownSentences({ limit: 8000 });
  const [fit, held] = [false, true].map((held) => sentences.filter((_, i) => heldOut(i) === held));
  for (const layer of findLayers(new Graph(model, 'sentence encoder')).layers) {
    const bytes = modelBytes(upTo(model, layer.activation));
    const outFeatures = Math.min(neurons, layer.outFeatures);
    yield {
      name: layer.name.replace(/\/MatMul$/, ''),
      weight: weightOf(layer).slice(0, outFeatures * layer.inFeatures),
      outFeatures,
      inFeatures: layer.inFeatures,
      activations: await rows(bytes, layer.activation, layer.inFeatures, fit!, 20_000),
      holdout: await rows(bytes, layer.activation, layer.inFeatures, held!, 4_000),
    };
  }
}
