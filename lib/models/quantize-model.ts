import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { environment } from '../environment';
import { checkOutput } from '../files';
import { checkModelOptions, checkPath } from './model-options';
import { openModel, prepareData, selectLayers } from './model-steps';
import { quantizeInto } from './quantize-into';
import { loadSession, runtimeVersion } from './runtime';
import type { ModelOptions, Report } from './types';
import { Workspace } from './workspace';

/**
 * Quantizes the weights of an ONNX file and writes the result to `output`.
 *
 * Layer after layer, in the order of the graph: each is fitted to what the already quantized layers before it produce on the
 * calibration data (the paper's consecutive application); with error correction, so that its outputs are those of the float network.
 * Time is linear in the number of layers: each part of the network is run once, between one layer's input and the next's. Memory: the
 * calibration data as it is read, one layer's weights and sums, and `memory` for what lives between two parts; not the model.
 * `output` appears only when it is complete; weights beyond 2 GiB, and with `externalData` all, lie beside it in `<output>_data`.
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
  const { signal } = options;
  signal?.throwIfAborted();
  const inputs = [input, ...pathsIn(options.calibration), ...pathsIn(options.holdout)];
  await checkOutput(inputs, output);
  const opened = await openModel(input, settings.format);
  await checkOutput(opened.dataFiles, output);
  for (const place of await dataPlaces(output)) await checkOutput([...inputs, ...opened.dataFiles], place);
  const found = await selectLayers(opened, settings);
  const data = options.calibration === undefined ? null : await prepareData(opened.graph, options);

  const workspace = new Workspace(output);
  try {
    const name = basename(output);
    const written = await quantizeInto(workspace, name, opened, found.layers, data, settings, options);
    if (data) await (await loadSession(workspace.pathOf(name), 'the quantized network')).release();
    signal?.throwIfAborted();
    await workspace.publish(written.files.map((file) => file.name));
    options.onProgress?.({ stage: 'write', done: 1, total: 1 });

    return {
      input,
      output,
      files: written.files.map((file) => join(dirname(output), file.name)),
      format: settings.format,
      layers: written.layers,
      skipped: found.skipped,
      bytes: {
        before: opened.size,
        after: written.files.reduce((sum, { bytes }) => sum + bytes, 0),
        weightsBefore: written.weights.before,
        weightsAfter: written.weights.after,
      },
      seconds: (performance.now() - started) / 1000,
      warnings: data?.warnings ?? [],
      environment: environment(data && runtimeVersion()),
    };
  } finally {
    await workspace.end();
  }
}

/** Where the data of an output would lie: where there is something already, or nothing yet. */
async function dataPlaces(output: string): Promise<string[]> {
  const first = `${basename(output)}_data`;
  const there = await readdir(dirname(output)).catch(() => []); // a folder that may be written need not be readable
  const further = there.filter((name) => name.startsWith(first) && /^_\d+$/.test(name.slice(first.length)));
  return [first, ...further].map((name) => join(dirname(output), name));
}

/** The files of calibration data. */
function pathsIn(data: ModelOptions['holdout']): string[] {
  const list: readonly unknown[] = Array.isArray(data) ? data : [data];
  return list.filter((item) => typeof item === 'string');
}
