import { basename, dirname, join } from 'node:path';
import { environment } from '../environment';
import { namingMemory, VertexqError } from '../errors';
import { provenanceOf } from '../runs/provenance';
import { deadlineOf, overTime } from '../options/relations';
import { RunFiles } from '../runs/run-files';
import { WorkFolder } from '../runs/work-folder';
import { workFolderOf } from '../runs/work-name';
import { sampledHash } from '../files/sampled-hash';
import { span, spanResults } from '../spans';
import { Turns } from '../yielding';
import { dataDigests } from './data-digest';
import { LayerJournal } from './layer-journal';
import { manifestOf } from './manifest';
import { requireNamesApart } from './names-apart';
import { prepareModel } from './prepare';
import { quantizeInto } from './quantize-into';
import { loadSession, runtimeVersion } from './runtime';
import type { ModelOptions, Report } from './types';
import { aboveTarget, withWidths } from './target';
import { Workspace } from '../runs/workspace';

/**
 * Quantizes the weights of an ONNX file and writes the result to `output`.
 *
 * Layer after layer, in the order of the graph: each is fitted to what the already quantized layers before it produce on the
 * calibration data (the paper's consecutive application); with error correction, so that its outputs are those of the float network.
 * Time is linear in the number of layers: each part of the network is run once, between one layer's input and the next's. Memory: the
 * calibration data as it is read, one layer's weights and sums, and `memory` for what lives between two parts; not the model.
 * What is fitted is kept beside `output`: a run that was interrupted, even killed, goes on with `resume`, and then has written the same bytes.
 * `output` appears only when it is complete; weights beyond 2 GiB, and with `externalData` all, lie beside it in `<output>_data`.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _ONNX, _NO_LAYERS,
 * _CALIBRATION, _RUNTIME, _MEMORY, _NOT_FINITE, _SCALE_RANGE, _FORMAT, _UNSUPPORTED, _LOCKED,
 * _RESUME or _NUMERIC; with the signal's reason when aborted.
 */
export async function quantizeModel(
  input: string,
  output: string,
  given: ModelOptions = {},
): Promise<Report> {
  return quantizeModelWith(new RunFiles(), input, output, given);
}

/** `quantizeModel` of a run that reads and writes other files too. */
export async function quantizeModelWith(
  runFiles: RunFiles,
  input: string,
  to: string,
  given: ModelOptions,
): Promise<Report> {
  const told = { 'vertexq.input': input, 'vertexq.output': to };
  const work = () => quantize(runFiles, input, to, given);
  return span('vertexq.quantize', told, () => namingMemory(input, work), spanResults);
}

async function quantize(runFiles: RunFiles, input: string, to: string, given: ModelOptions): Promise<Report> {
  const started = performance.now();
  const widths = withWidths(runFiles, input, to, given);
  const { budget, warnings, options: targeted } = widths instanceof Promise ? await widths : widths;
  const prepared = await prepareModel(runFiles, input, to, targeted, false);
  const { output, settings, options, opened, found, data } = prepared;
  settings.deadline = deadlineOf(options, started);
  const { signal, onWarning } = options;
  const early = [...found.warnings, ...warnings, ...(data?.warnings ?? [])];
  for (const warning of early) onWarning?.(warning);
  const manifest = await manifestOf(opened, data, options);
  const hashes = data && (await dataDigests(data, new Turns(signal)));
  const inputHash = await sampledHash([opened.file, ...opened.dataFiles]);
  const provenance = provenanceOf(options, settings.format, inputHash, hashes, data && runtimeVersion());
  const work = await WorkFolder.open(workFolderOf(output), manifest, settings);
  const workspace = new Workspace(output, work.scratch());
  let journal: LayerJournal | null = null;
  try {
    await requireNamesApart(output);
    const name = basename(output);
    journal = data && (await LayerJournal.open(work));
    const { layers } = found;
    const written = await quantizeInto(
      workspace,
      name,
      opened,
      layers,
      data,
      settings,
      options,
      journal,
      provenance,
    );
    if (data) await (await loadSession(workspace.pathOf(name), 'the quantized network')).release();
    signal?.throwIfAborted();
    await workspace.publish(written.files.map((file) => file.name));
    options.onProgress?.({ stage: 'write', done: 1, total: 1 });
    await journal?.close();
    await workspace.end();
    await work.remove();

    const seconds = (performance.now() - started) / 1000;
    const after = written.files.reduce((sum, { bytes }) => sum + bytes, 0);
    return {
      schemaVersion: 1,
      input,
      output,
      files: written.files.map((file) => join(dirname(output), file.name)),
      format: settings.format,
      layers: written.layers,
      skipped: found.skipped,
      bytes: {
        before: opened.size,
        after,
        weightsBefore: written.weights.before,
        weightsAfter: written.weights.after,
      },
      calibration: data && data.counts,
      resumed: journal?.resumed ?? 0,
      seconds,
      warnings: [
        ...early,
        ...work.warnings,
        ...aboveTarget(budget, after),
        ...overTime(options.time, seconds),
      ],
      ...(budget && { budget }),
      environment: environment(data && runtimeVersion()),
      provenance,
    };
  } catch (error) {
    await journal?.close();
    await workspace.end();
    await (work.isEmpty || !mayPass(error) ? work.remove() : work.close());
    throw error;
  }
}

/** Errors that more room on a disk or in memory mends, or another run's end. Those of the network, the data or the options come again, and with others it is another run. */
const passing = [
  'ERR_VERTEXQ_FILE',
  'ERR_VERTEXQ_LOCKED',
  'ERR_VERTEXQ_MEMORY',
  'ERR_VERTEXQ_RUNTIME',
  'ERR_VERTEXQ_THREADS',
];

/** Whether the same run could get further another time. */
const mayPass = (error: unknown) => !(error instanceof VertexqError) || passing.includes(error.code);
