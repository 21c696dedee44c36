import { VertexqError } from '../errors';
import { binding } from '../native/binding';
import type { LayerReport, QuantizedLayer } from '../types';
import { version } from '../version';
import { dataOptionsOf, type PreparedCalibration, prepareCalibration } from './calibration';
import { chooseLayers, findLayers, type FoundLayers, requireWeight } from './find-layers';
import type { ModelSettings } from './model-options';
import { modelBytes, readModel } from './onnx/codec';
import { Graph } from './onnx/graph';
import type { ModelProto } from './onnx/onnx_pb';
import { requireInFile } from './onnx/tensor';
import { addMetadata, describeValue } from './onnx/value-info';
import { type Replacement, rewriteFloat, rewriteMatMulNBits } from './rewrite';
import { runtimeVersion } from './runtime';
import type { DataOptions, ModelOptions, Report } from './types';

// The steps from an ONNX file to a quantized one, for those who go them once or several times.

const rewrites = { matmulnbits: rewriteMatMulNBits, float: rewriteFloat };

/** An ONNX file as read, with all its weights in it. */
export interface OpenModel {
  file: string;
  /** Length of the file in bytes. */
  size: number;
  model: ModelProto;
  graph: Graph;
}

/** Rejects with ERR_VERTEXQ_FILE, ERR_VERTEXQ_ONNX, ERR_VERTEXQ_MEMORY, ERR_VERTEXQ_UNSUPPORTED. */
export async function openModel(file: string): Promise<OpenModel> {
  const { model, size } = await readModel(file);
  const graph = new Graph(model, file);
  for (const tensor of graph.proto.initializer) requireInFile(tensor);
  return { file, size, model, graph };
}

/** The layers to quantize. Throws where there are none, or one's weight cannot be read. */
export function selectLayers(
  { file, graph }: OpenModel,
  { layers, skip, format }: Pick<ModelSettings, 'layers' | 'skip' | 'format'>,
  hasData: boolean,
): FoundLayers {
  const found = chooseLayers(findLayers(graph), file, layers, skip);
  if (!hasData && format === 'matmulnbits') setLeftWeightsAside(found, file);
  // The last layer's weight too: not after hours of work for those before it.
  for (const layer of found.layers) requireWeight(layer);
  return found;
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

/** The calibration data of `options`, which must have some. */
export async function prepareData(
  graph: Graph,
  {
    calibration,
    holdout,
    signal,
    ...options
  }: Pick<ModelOptions, 'calibration' | 'holdout' | 'signal' | keyof DataOptions>,
): Promise<PreparedCalibration> {
  const inputs = graph.inputs.map(describeValue);
  return prepareCalibration(calibration!, { ...dataOptionsOf(options), holdout, signal, inputs });
}

/** A quantized network. */
export interface RewrittenModel {
  bytes: Uint8Array;
  /** Each layer's report, with its bytes in the file. */
  layers: LayerReport[];
  /** Bytes of the quantized layers' weights. */
  weights: { before: number; after: number };
}

/** Puts quantized weights into a model, which is changed. */
export function rewriteModel(
  model: ModelProto,
  replacements: readonly Replacement[],
  settings: ModelSettings,
): RewrittenModel {
  const sizes = rewrites[settings.format](model, replacements);
  const layers = replacements.map(({ quantized, layer }, i) => ({
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
      errorCorrection: settings.errorCorrection,
    }),
  });
  return { bytes: modelBytes(model), layers, weights: weightTotals(replacements, layers) };
}

/** A tied weight counts once. */
function weightTotals(replacements: readonly Replacement[], layers: readonly LayerReport[]) {
  const seen = new Set<QuantizedLayer>();
  const totals = { before: 0, after: 0 };
  for (const [i, { quantized }] of replacements.entries()) {
    if (seen.has(quantized)) continue;
    seen.add(quantized);
    totals.before += layers[i]!.bytes.before;
    totals.after += layers[i]!.bytes.after;
  }
  return totals;
}

/** What a report's numbers depend on besides input and options. `ran`: whether onnxruntime had a part in them. */
export function environment(ran: boolean): Report['environment'] {
  const blas = binding().blasInfo();
  return {
    vertexq: version,
    node: process.version,
    blas: blas.config,
    blasCore: blas.core,
    onnxruntime: ran ? runtimeVersion() : null,
  };
}
