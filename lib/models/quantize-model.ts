import { realpath } from 'node:fs/promises';
import { dirname } from 'node:path';
import { VertexqError } from '../errors';
import { checkOutput, writeWhole } from '../files';
import { checkModelOptions, checkPath } from './model-options';
import { type Graph, tensorsOf } from './onnx/graph';
import { isExternal } from './onnx/tensor';
import { environment, openModel, prepareData, rewriteModel, selectLayers } from './model-steps';
import { loadSession } from './runtime';
import { Traversal } from './traversal';
import type { ModelOptions, Report } from './types';

/**
 * Quantizes the MatMul and Gemm weights of an ONNX file and writes the result to `output`.
 *
 * Layer after layer, in the order of the graph: each is fitted to what the already quantized layers before it produce on the
 * calibration data (the paper's consecutive application); with error correction, so that its outputs are those of the float network.
 * Memory: the model, twice, what the runtime takes to run it, and one layer's data; not the calibration set's activations. `output`
 * appears only when it is complete.
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
  checkPath('input', input);
  checkPath('output', output);
  const settings = checkModelOptions(given);
  // The caller may change his while this runs.
  const options = { ...given };
  options.signal?.throwIfAborted();
  await checkOutput([input, ...pathsIn(options.calibration), ...pathsIn(options.holdout)], output);
  const opened = await openModel(input);
  const hasExternal = await checkExternal(opened.graph, input, output);
  const found = selectLayers(opened, settings, options.calibration !== undefined);
  const data = options.calibration === undefined ? null : await prepareData(opened.graph, options);

  const traversal = new Traversal(opened.model, found.layers, data, settings, options);
  const replacements = await traversal.run();

  options.onProgress?.({ stage: 'write', done: 0, total: 1 });
  const { bytes, layers, weights } = rewriteModel(opened.model, replacements, settings);
  // From memory, the runtime finds no other files.
  if (data && !hasExternal) await (await loadSession(bytes, 'the quantized network')).release();
  await writeWhole(output, bytes, options.signal);
  options.onProgress?.({ stage: 'write', done: 1, total: 1 });

  return {
    input,
    output,
    format: settings.format,
    layers,
    skipped: found.skipped,
    bytes: {
      before: opened.size,
      after: bytes.length,
      weightsBefore: weights.before,
      weightsAfter: weights.after,
    },
    seconds: (performance.now() - started) / 1000,
    warnings: data?.warnings ?? [],
    environment: environment(data !== null),
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
