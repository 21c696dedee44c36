import { stat } from 'node:fs/promises';
import { requireFree } from '../checkpoints/output';
import { isText, requireKnownTokens, tokenInputs } from '../checkpoints/network';
import type { OpenDecoder } from '../decoders/open';
import { environment } from '../environment';
import { VertexqError } from '../errors';
import { LanguageModel } from '../evaluate/language/language-model';
import { requireAlike } from '../evaluate/language/alike';
import { blockSizes } from '../evaluate/language/block-sizes';
import { requireSameTokenizer } from '../evaluate/language/tokenizers';
import { plainPath } from '../files/plain-path';
import { sampledHash } from '../files/sampled-hash';
import { requireMemory } from '../memory';
import { type CalibrationSet, prepareCalibrationSet } from '../models/calibration-set';
import { dataDigests } from '../models/data-digest';
import { addDataPaths } from '../models/run-files';
import { runtimeVersion } from '../models/runtime';
import { defaults } from '../options/defaults';
import { checkpointPath, requirePath } from '../options/messages';
import { dataOptionsOf } from '../options/relations';
import { checkOptions } from '../options/table';
import { requireWritable, RunFiles } from '../runs/run-files';
import { Workspace } from '../runs/workspace';
import { version } from '../version';
import { warn, type Warning } from '../warning-codes';
import { Turns } from '../yielding';
import { rescaled, storedScales } from './stored-scales';
import { tokensPerStep, tuneScales } from './tune-scales';
import type { TuneOptions, TuneReport } from './types';
import { writeTuned } from './write-tuned';

/** Fewer held-out tokens than this hardly tell whether scales have become better. */
const fewTokens = 1000;

/**
 * Tunes the scales of a quantized language model for what it says of the next token to come near to what the float one says, on text: the KL divergence is lowered by its gradients through the whole
 * network, codes and zero points stay. Both are safetensors files or folders of them; the quantized one in the formats compressed-tensors (pack-quantized), gptq or gptq_v2, whoever made
 * it. The output is the same with other scales, and has the given ones where the divergence on held-out text did not fall. Memory: a block's weights some times over in float32, the heads', and what `memory` says.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _SAFETENSORS, _DECODER, _UNSUPPORTED (the two do not belong together, or there is nothing to
 * tune), _EXISTS, _NOT_FINITE, _RUNTIME, _MEMORY, and what reading data brings; with the signal's reason when aborted.
 */
export async function tuneCheckpoint(
  float: string,
  quantized: string,
  output: string,
  options: TuneOptions,
): Promise<TuneReport> {
  return tuneCheckpointWith(new RunFiles(), float, quantized, output, options);
}

/** `tuneCheckpoint` of a run that reads and writes other files too. */
export async function tuneCheckpointWith(
  files: RunFiles,
  float: string,
  quantized: string,
  to: string,
  given: TuneOptions,
): Promise<TuneReport> {
  requirePath('float checkpoint', float, checkpointPath);
  requirePath('quantized checkpoint', quantized, checkpointPath);
  requirePath('output', to, checkpointPath);
  checkOptions('tuneCheckpoint', given);
  if ((given as Partial<TuneOptions> | undefined)?.calibration === undefined)
    throw new TypeError('Tuning needs the option "calibration": text that the model is to be near on');
  // The caller may change his while this runs.
  const options = { ...given };
  const output = plainPath(to);
  options.signal?.throwIfAborted();
  const models: LanguageModel[] = [];
  try {
    models.push(await LanguageModel.open(float, options));
    models.push(await LanguageModel.open(quantized, options, models[0]));
    await addPaths(files, [float, quantized], output, models[1]!, options);
    await files.check();
    await requirePlace(output, models[1]!);
    return await tune(models[0]!, models[1]!, output, options);
  } finally {
    for (const model of models) await model.close();
  }
}

async function addPaths(
  files: RunFiles,
  [float, quantized]: readonly [string, string],
  output: string,
  model: LanguageModel,
  options: TuneOptions,
): Promise<void> {
  files.reads('float model', float, { only: true });
  files.reads('quantized model', quantized, { only: true });
  await addDataPaths(files, options);
  if (isFolder(model)) files.worksIn('output', output);
  else files.writes('output', output, { only: true });
}

const isFolder = ({ stored }: LanguageModel) => stored !== null && stored.checkpoint.folder !== null;

/** Rejects, before any work, where the output could not be written: a folder has to be new, or empty. */
async function requirePlace(output: string, model: LanguageModel): Promise<void> {
  if (!isFolder(model)) return requireWritable(output);
  await requireWritable(output, { mayExist: true });
  const found = await stat(output).catch(() => undefined);
  if (found && !found.isDirectory())
    throw new VertexqError('ERR_VERTEXQ_FILE', `${output} cannot be written: it exists and is no folder`);
  if (found) await requireFree(output);
}

async function tune(
  float: LanguageModel,
  quantized: LanguageModel,
  output: string,
  options: TuneOptions,
): Promise<TuneReport> {
  const started = performance.now();
  const { signal, rounds = 1, memory = defaults.modelMemory } = options;
  const { stored } = quantized;
  if (!stored)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${quantized.path}: scales of GGUF files are not tuned: give a folder in the format compressed-tensors, gptq or gptq_v2`,
    );
  const sides = [float, quantized].map((model) => ({ model, decoder: model.decoder(1) }));
  requireAlike(sides);
  await requireSameTokenizer([float, quantized], signal);
  const data = await dataOf(float, sides[0]!.decoder.shape, options);
  const longest = [...data.fit, ...data.holdout].reduce(
    (most, { input_ids }) => Math.max(most, input_ids!.dims[1]!),
    1,
  );
  const [teacher, student] = [float.decoder(longest), quantized.decoder(longest)];
  const { scales, tunables, left } = await storedScales(stored.checkpoint, stored.packed, student, signal);
  if (tunables.size === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `${quantized.path} has no weights in few bits whose scales could be tuned${left[0] ? `: of "${left[0].name}", ${left[0].reason}` : ''}`,
    );
  requireRoom(student, memory);
  const values = Workspace.temporary(true);
  const made = new Workspace(output);
  try {
    const tuned = await tuneScales(
      teacher,
      student,
      tunables,
      data,
      rounds,
      async (weight, factors) => (await rescaled(scales.get(weight)!, factors, signal)).factors,
      {
        ...{ workspace: values, memory, signal },
        onProgress: (done, total) => options.onProgress?.({ stage: 'tune', done, total }),
      },
    );
    const bytes = new Map<string, Uint8Array>();
    for (const [weight, own] of scales)
      bytes.set(own.tensor, (await rescaled(own, tuned.factors.get(weight)!, signal)).bytes);
    const told = await provenanceOf(float, data, rounds, tuned.isKept, signal);
    options.onProgress?.({ stage: 'write', done: 0, total: 1 });
    const notCopied = await writeTuned(stored.checkpoint, output, bytes, told, made, signal);
    options.onProgress?.({ stage: 'write', done: 1, total: 1 });
    const { factors, ...others } = tuned;
    return {
      ...{ float: float.path, quantized: quantized.path, output },
      divergence: { before: others.before, after: others.after },
      ...{ isKept: others.isKept, steps: others.steps, data: data.counts },
      weights: factors.size,
      scales: [...factors.values()].reduce((sum, { length }) => sum + length, 0),
      left,
      seconds: (performance.now() - started) / 1000,
      warnings: [...data.warnings, ...warningsOf(data, others.isKept), ...notCopied],
      environment: environment(runtimeVersion()),
    };
  } finally {
    await values.end();
    await made.end();
  }
}

/** A block's weights: read, in their graph, as that is serialized and loaded, and the derivatives by them; the heads likewise; what is kept between blocks. */
function requireRoom(decoder: OpenDecoder, memory: number): void {
  const { vocabulary, hidden } = decoder.shape;
  const largest = Math.max(...blockSizes(decoder));
  requireMemory(
    4 * (6 * largest + 4 * vocabulary * hidden) + memory,
    `Tuning ${decoder.file}`,
    'Give less "memory" (--memory), which is for activations',
  );
}

/** Reads the data as windows. */
async function dataOf(
  float: LanguageModel,
  shape: OpenDecoder['shape'],
  options: TuneOptions,
): Promise<CalibrationSet> {
  const { calibration, holdout, signal, ...others } = options;
  const isOfText = isText(calibration);
  const length = options.sequenceLength ?? Math.min(defaults.sequenceLength, float.places(shape));
  const prepare = (folder: string | null) =>
    prepareCalibrationSet(calibration, {
      ...dataOptionsOf(others),
      ...(isOfText && folder !== null && options.tokenizer === undefined ? { tokenizer: folder } : {}),
      ...(isOfText ? { sequenceLength: length } : {}),
      batchSize: isOfText ? Math.max(1, Math.floor(tokensPerStep / length)) : 1,
      ...{
        ...(holdout !== undefined && { holdout }),
        signal,
        inputs: tokenInputs,
        vocabulary: shape.vocabulary,
      },
    });
  const data = await (isOfText && options.tokenizer === undefined
    ? float.withTokenizer(prepare)
    : prepare(null));
  await requireKnownTokens([...data.fit, ...data.holdout], shape.vocabulary, float.path, new Turns(signal));
  return data;
}

/** What the output says of its tuning: what decides its bytes, and nothing else. */
async function provenanceOf(
  float: LanguageModel,
  data: CalibrationSet,
  rounds: number,
  isKept: boolean,
  signal: AbortSignal | undefined,
): Promise<string> {
  return JSON.stringify({
    ...{ vertexq: version, rounds, isKept },
    float: await sampledHash(float.files),
    data: await dataDigests(data, new Turns(signal)),
    onnxruntime: runtimeVersion(),
  });
}

function warningsOf({ counts }: CalibrationSet, isKept: boolean): Warning[] {
  const warnings: Warning[] = [];
  const { tokens } = counts.holdout;
  if (!isKept)
    warnings.push(
      warn(
        'WARN_VERTEXQ_NO_EFFECT',
        'Tuning did not lower the divergence on held-out data: the output has the scales that it was given. Give more text.',
      ),
    );
  else if (tokens === null || tokens < fewTokens)
    warnings.push(
      warn(
        'WARN_VERTEXQ_FEW_TOKENS',
        `There are ${tokens ?? 'no'} held-out tokens: with fewer than ${fewTokens} they hardly tell whether the scales are better on other text`,
      ),
    );
  return warnings;
}
