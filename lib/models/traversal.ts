import { located, VertexqError } from '../errors';
import { Calibration, calibrationKind } from '../layers/calibration';
import { quantizeWeights } from '../layers/quantize-weights';
import { threadsFor } from '../native/jobs';
import type { QuantizedLayer } from '../types';
import type { PreparedCalibration } from './calibration';
import { capture, upTo, workingCopy } from './capture';
import { inTensorLayout, type Layer, weightOf } from './find-layers';
import { layerSettings, type ModelSettings } from './model-options';
import { namesOf } from './onnx/graph';
import { tensor } from './onnx/make';
import type { ModelProto, NodeProto, TensorProto } from './onnx/onnx_pb';
import type { Replacement } from './rewrite';
import type { Feeds, ModelOptions } from './types';

/** What the layers that read a value see on the calibration data. */
interface CapturedInput {
  activation: string;
  featureAxis: number;
  calibration: Calibration;
  holdout: Calibration | null;
  /** Rank of the value's tensor. */
  rank: number;
}

/**
 * Goes through a model's layers, in the order of the graph, and quantizes each on what the network, quantized as far as the layers
 * before it, feeds it; with error correction so that it gives what it gives in the float network. The model is only read.
 */
export class Traversal {
  /** The network as quantized so far, in float. */
  private readonly working: ModelProto;
  /** Each node of the model and its copy there. */
  private readonly nodes: Map<NodeProto, NodeProto>;
  private readonly feeds: readonly Feeds[];
  /** Weights done so far, by tensor and orientation: a tied weight is quantized once, for its first use. */
  private readonly done = new Map<TensorProto, Map<boolean, QuantizedLayer>>();
  private captured: CapturedInput | null = null;
  /** Begins the names of the working copy's new weights, and no other name. */
  private readonly prefix: string;

  constructor(
    private readonly model: ModelProto,
    private readonly layers: readonly Layer[],
    private readonly data: PreparedCalibration | null,
    private readonly settings: ModelSettings,
    private readonly options: ModelOptions,
  ) {
    this.working = workingCopy(model);
    const taken = [...namesOf(model.graph!)];
    let prefix = 'vertexq/';
    while (taken.some((name) => name.startsWith(prefix))) prefix += '_';
    this.prefix = prefix;
    this.feeds = data ? [...data.fit, ...data.holdout] : [];
    this.nodes = new Map(model.graph!.node.map((original, i) => [original, this.working.graph!.node[i]!]));
  }

  async run(): Promise<Replacement[]> {
    const replacements: Replacement[] = [];
    for (const [index, layer] of this.layers.entries()) {
      this.options.signal?.throwIfAborted();
      try {
        const { quantized, activationRank } = await this.quantize(layer, index);
        this.substitute(layer, index, quantized);
        replacements.push({ layer, quantized, activationRank });
      } catch (error) {
        throw located(`layer "${layer.name}"`, error);
      }
    }
    return replacements;
  }

  private async quantize(layer: Layer, index: number): Promise<Omit<Replacement, 'layer'>> {
    const byOrientation = this.done.get(layer.constant.tensor) ?? new Map<boolean, QuantizedLayer>();
    this.done.set(layer.constant.tensor, byOrientation);
    const tied = byOrientation.get(layer.neuronMajor);
    const captured =
      this.data && !(tied && layer.featureAxis === -1) ? await this.capture(layer, index) : null;
    const activationRank = captured?.rank;
    if (tied) return { quantized: tied, activationRank };
    const quantized = await quantizeWeights(
      {
        name: layer.name,
        kind: layer.kind,
        weight: weightOf(layer),
        outFeatures: layer.outFeatures,
        inFeatures: layer.inFeatures,
        calibration: captured?.calibration ?? null,
        holdout: captured?.holdout ?? null,
      },
      layerSettings(this.settings, layer.inFeatures),
      this.layerOptions(layer, index),
    );
    byOrientation.set(layer.neuronMajor, quantized);
    return { quantized, activationRank };
  }

  /** Options whose progress says which layer it is about. */
  private layerOptions(layer: Layer, index: number) {
    const { onProgress, signal } = this.options;
    return {
      threads: threadsFor(this.options),
      ...(signal ? { signal } : {}),
      ...(onProgress
        ? {
            onProgress: (progress: Parameters<typeof onProgress>[0]) =>
              onProgress({
                ...progress,
                layer: layer.name,
                layerIndex: index,
                layerCount: this.layers.length,
              }),
          }
        : {}),
    };
  }

  /** The layer's input on the calibration data. Neighbours in the graph that read the same value share it. */
  private async capture(layer: Layer, index: number) {
    const { activation, featureAxis, inFeatures } = layer;
    if (this.captured?.activation === activation && this.captured.featureAxis === featureAxis)
      return this.captured;
    this.captured = null; // before the next one is there: its memory goes first
    const fitted = this.data!.fit.length;
    const seen = upTo(this.working, activation);
    const corrects = this.settings.errorCorrection && this.isQuantized(seen);
    const kind = calibrationKind(this.settings.method, corrects);
    const calibration = new Calibration(inFeatures, kind);
    const holdout = this.feeds.length > fitted ? new Calibration(inFeatures, kind) : null;
    const { onProgress, signal } = this.layerOptions(layer, index);
    const { rank } = await capture(
      { seen, float: corrects ? upTo(this.model, activation) : null },
      activation,
      featureAxis,
      this.feeds,
      (feed) => (feed < fitted ? calibration : holdout!),
      {
        signal,
        onRun: (done) => onProgress?.({ stage: 'capture', done, total: this.feeds.length }),
      },
    );
    if (calibration.samples === 0)
      throw new VertexqError('ERR_VERTEXQ_CALIBRATION', `the calibration data gives "${activation}" no rows`);
    return (this.captured = {
      activation,
      featureAxis,
      calibration,
      holdout: holdout?.samples ? holdout : null,
      rank,
    });
  }

  /** Whether a part of the working copy has quantized layers. One that has none gives what the float network gives. */
  private isQuantized(part: ModelProto): boolean {
    return part.graph!.initializer.some(({ name }) => name.startsWith(this.prefix));
  }

  /** Lets the layers behind see what the quantized layer produces. */
  private substitute(layer: Layer, index: number, quantized: QuantizedLayer): void {
    const node = this.nodes.get(layer.node)!;
    const name = `${this.prefix}${index}`;
    const values = inTensorLayout(
      { ...layer, neuronMajor: this.nodeWantsNeuronMajor(layer) },
      quantized.dequantize(),
    );
    const { outFeatures, inFeatures } = layer;
    const dims = this.nodeWantsNeuronMajor(layer) ? [outFeatures, inFeatures] : [inFeatures, outFeatures];
    this.working.graph!.initializer.push(tensor(name, dims, values));
    node.input[layer.weightIndex] = name;
  }

  /** The layout behind any Transpose on the weight's way, which the substitute does without. */
  private nodeWantsNeuronMajor(layer: Layer): boolean {
    return layer.neuronMajor !== layer.constant.transposed;
  }
}
