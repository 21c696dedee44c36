import { stat } from 'node:fs/promises';
import { Calibration } from '../layers/calibration';
import { quantizeWeights } from '../layers/quantize-weights';
import { located, VertexqError } from '../errors';
import { checkOutput, writeWhole } from '../files';
import { binding } from '../native/binding';
import { threadsFor } from '../native/jobs';
import { checkModelOptions, layerSettings, type ModelSettings } from './model-options';
import type { QuantizedLayer } from '../types';
import { version } from '../version';
import { type PreparedCalibration, prepareCalibration } from './calibration';
import { capture, workingCopy } from './capture';
import {
  chooseLayers,
  findLayers,
  type FoundLayers,
  inTensorLayout,
  type Layer,
  weightOf,
} from './find-layers';
import { modelBytes, readModel } from './onnx/codec';
import { Graph } from './onnx/graph';
import { tensor } from './onnx/make';
import type { ModelProto, NodeProto, TensorProto } from './onnx/onnx_pb';
import { requireInFile } from './onnx/tensor';
import { addMetadata, describeValue } from './onnx/value-info';
import { type Replacement, rewriteFloat, rewriteMatMulNBits } from './rewrite';
import { loadSession, runtimeVersion } from './runtime';
import type { Feeds, ModelOptions, Report } from './types';

const rewrites = { matmulnbits: rewriteMatMulNBits, float: rewriteFloat };

/**
 * Quantizes the MatMul and Gemm weights of an ONNX file and writes the result to `output`.
 *
 * Layer after layer, in the order of the graph: each is fitted to what the already quantized layers before it produce on the
 * calibration data (the paper's consecutive application). Memory: the model, twice, and one layer's data; not the calibration
 * set's activations. `output` appears only when it is complete.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _ONNX, _NO_LAYERS,
 * _CALIBRATION, _RUNTIME, _NOT_FINITE, _SCALE_RANGE, _FORMAT, _UNSUPPORTED or _NUMERIC; with the signal's reason when aborted.
 */
export async function quantizeModel(
  input: string,
  output: string,
  options: ModelOptions = {},
): Promise<Report> {
  const started = performance.now();
  const settings = checkModelOptions(input, output, options);
  options.signal?.throwIfAborted();
  await checkOutput(input, output);
  const model = await readModel(input);
  const graph = new Graph(model, input);
  // Where the output lies, the other files may not.
  for (const tensor of graph.proto.initializer) requireInFile(tensor);
  const found = chooseLayers(findLayers(graph), input, settings.layers, settings.skip);
  if (options.calibration === undefined && settings.format === 'matmulnbits')
    setLeftWeightsAside(found, input);
  const data = options.calibration === undefined ? null : await prepare(graph, options);

  const traversal = new Traversal(model, found.layers, data, settings, options);
  const replacements = await traversal.run();

  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  const sizes = rewrites[settings.format](model, replacements);
  const reports = replacements.map(({ quantized, layer }, i) => ({
    ...quantized.report,
    name: layer.name,
    bytes: { before: quantized.report.bytes.before, after: sizes[i]! },
  }));
  addMetadata(model, {
    'vertexq.version': version,
    'vertexq.options': JSON.stringify({
      method: settings.method,
      bits: settings.kind.bits,
      levels: settings.kind.levels,
      grid: settings.kind.grid,
      groupSize: settings.groupSize,
      format: settings.format,
    }),
  });
  const bytes = modelBytes(model);
  if (data) await (await loadSession(bytes, 1, 'the quantized network')).release();
  await writeWhole(output, bytes, options.signal);
  options.onProgress?.({ stage: 'write', done: 1, total: 1 });

  const blas = binding().blasInfo();
  return {
    input,
    output,
    format: settings.format,
    layers: reports,
    skipped: found.skipped,
    bytes: {
      before: (await stat(input)).size,
      after: bytes.length,
      ...weightTotals(replacements, reports),
    },
    seconds: (performance.now() - started) / 1000,
    warnings: data?.warnings ?? [],
    environment: {
      vertexq: version,
      node: process.version,
      blas: blas.config,
      blasCore: blas.core,
      onnxruntime: data ? runtimeVersion() : null,
    },
  };
}

/** MatMulNBits has its weight on the right; to turn a product round, the rank of the other side must have been seen. */
function setLeftWeightsAside(found: FoundLayers, input: string): void {
  for (const layer of found.layers.filter(({ weightIndex }) => weightIndex === 0))
    found.skipped.push({
      name: layer.name,
      reason: 'its weight is on the left: "matmulnbits" needs calibration data for that',
    });
  found.layers = found.layers.filter(({ weightIndex }) => weightIndex === 1);
  if (found.layers.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_NO_LAYERS',
      `${input} has no layer to quantize without calibration data: the weight of "${found.skipped.at(-1)!.name}" is on the left; give some, or use the format "float"`,
    );
}

/** A tied weight counts once. */
function weightTotals(
  replacements: readonly Replacement[],
  reports: readonly { bytes: { before: number; after: number } }[],
) {
  const seen = new Set<QuantizedLayer>();
  const totals = { weightsBefore: 0, weightsAfter: 0 };
  for (const [i, { quantized }] of replacements.entries()) {
    if (seen.has(quantized)) continue;
    seen.add(quantized);
    totals.weightsBefore += reports[i]!.bytes.before;
    totals.weightsAfter += reports[i]!.bytes.after;
  }
  return totals;
}

async function prepare(graph: Graph, options: ModelOptions): Promise<PreparedCalibration> {
  return prepareCalibration(options.calibration!, {
    ...(options.holdout === undefined ? {} : { holdout: options.holdout }),
    ...(options.batchSize === undefined ? {} : { batchSize: options.batchSize }),
    inputs: graph.inputs.map(describeValue),
  });
}

/** What the layers that read a value see on the calibration data. */
interface CapturedInput {
  activation: string;
  featureAxis: number;
  calibration: Calibration;
  holdout: Calibration | null;
  /** Rank of the value's tensor. */
  rank: number;
}

/** Goes through a model's layers and quantizes each. */
class Traversal {
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
    model: ModelProto,
    private readonly layers: readonly Layer[],
    private readonly data: PreparedCalibration | null,
    private readonly settings: ModelSettings,
    private readonly options: ModelOptions,
  ) {
    this.working = workingCopy(model);
    const { node, initializer, input } = model.graph!;
    const taken = [...initializer, ...input]
      .map(({ name }) => name)
      .concat(node.flatMap(({ output }) => output));
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
    const calibration = new Calibration(inFeatures);
    const holdout = this.feeds.length > fitted ? new Calibration(inFeatures) : null;
    const { onProgress, threads, signal } = this.layerOptions(layer, index);
    const { rank } = await capture(
      this.working,
      activation,
      featureAxis,
      this.feeds,
      (feed) => (feed < fitted ? calibration : holdout!),
      {
        threads,
        signal,
        onRun: (done) => onProgress?.({ stage: 'capture', done, total: this.feeds.length }),
      },
    );
    return (this.captured = { activation, featureAxis, calibration, holdout, rank });
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
