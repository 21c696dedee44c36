import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VertexqError } from '../errors';
import { checkOutput, writeWhole } from '../files';
import { binding } from '../native/binding';
import { checkModelOptions } from './model-options';
import type { QuantizedLayer } from '../types';
import { version } from '../version';
import { type PreparedCalibration, prepareCalibration } from './calibration';
import { chooseLayers, findLayers, type FoundLayers, requireWeight } from './find-layers';
import { modelBytes, readModel } from './onnx/codec';
import { Graph, tensorsOf } from './onnx/graph';
import { isExternal, requireInFile } from './onnx/tensor';
import { addMetadata, describeValue } from './onnx/value-info';
import { type Replacement, rewriteFloat, rewriteMatMulNBits } from './rewrite';
import { loadSession, runtimeVersion } from './runtime';
import { Traversal } from './traversal';
import type { ModelOptions, Report } from './types';

const rewrites = { matmulnbits: rewriteMatMulNBits, float: rewriteFloat };

/**
 * Quantizes the MatMul and Gemm weights of an ONNX file and writes the result to `output`.
 *
 * Layer after layer, in the order of the graph: each is fitted to what the already quantized layers before it produce on the
 * calibration data (the paper's consecutive application). Memory: the model, twice, and one layer's data; not the calibration
 * set's activations. `output` appears only when it is complete.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _ONNX, _NO_LAYERS,
 * _CALIBRATION, _RUNTIME, _MEMORY, _NOT_FINITE, _SCALE_RANGE, _FORMAT, _UNSUPPORTED or _NUMERIC; with the signal's reason when aborted.
 */
export async function quantizeModel(
  input: string,
  output: string,
  given: ModelOptions = {},
): Promise<Report> {
  const started = performance.now();
  const settings = checkModelOptions(input, output, given);
  // The caller may change his while this runs.
  const options = { ...given };
  options.signal?.throwIfAborted();
  await checkOutput([input, ...pathsIn(options.calibration), ...pathsIn(options.holdout)], output);
  const { model, size } = await readModel(input);
  const graph = new Graph(model, input);
  for (const tensor of graph.proto.initializer) requireInFile(tensor);
  const hasExternal = await checkExternal(graph, input, output);
  const found = chooseLayers(findLayers(graph), input, settings.layers, settings.skip);
  if (options.calibration === undefined && settings.format === 'matmulnbits')
    setLeftWeightsAside(found, input);
  // The last layer's weight too: not after hours of work for those before it.
  for (const layer of found.layers) requireWeight(layer);
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
  // From memory, the runtime finds no other files.
  if (data && !hasExternal) await (await loadSession(bytes, 'the quantized network')).release();
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
      before: size,
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

/** The files of calibration data. */
function pathsIn(data: ModelOptions['holdout']): string[] {
  const list: readonly unknown[] = Array.isArray(data) ? data : [data];
  return list.filter((item) => typeof item === 'string');
}

/**
 * Whether tensors of `Constant` nodes and subgraphs, which stay as they are, lie in other files. Throws ERR_VERTEXQ_UNSUPPORTED
 * where the output would not find these: they are named relative to the model's folder.
 */
async function checkExternal({ proto }: Graph, input: string, output: string): Promise<boolean> {
  const external = [...tensorsOf(proto)].find(isExternal);
  if (!external) return false;
  if ((await realpath(dirname(input))) !== (await realpath(dirname(output))))
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `tensor "${external.name}" of ${input}: its data lies in another file, beside the model: write the output into the same folder`,
    );
  return true;
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
