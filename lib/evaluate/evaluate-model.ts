import { environment } from '../environment';
import { namingMemory, VertexqError } from '../errors';
import { type PreparedSamples, prepareSamples, dataOptionsOf } from '../models/calibration-set';
import { runtimeVersion } from '../models/runtime';
import type { DescribedValue } from '../containers/onnx/value-info';
import { describe, networkPath, requirePath } from '../options/messages';
import { checkTextOptions } from '../options/relations';
import { checkOptions } from '../options/table';
import { timeBoth } from './latency';
import { latencyHints } from './unpacked';
import { Network, type NetworkFile, readNetwork, runBoth } from './network';
import { outputAxis } from './output-axis';
import { OutputErrors } from './output-errors';
import { scoreOf } from './score';
import type { EvaluateOptions, Evaluation, ModelOutputs } from './types';
import { warn, type Warning } from '../warning-codes';

const defaultRuns = 10;

/**
 * Runs a float network and its quantized one on held-out data and reports how far the outputs are apart, how large the files are and
 * how long a run takes. Both are run by onnxruntime-node as a program would run them. Memory: both networks, the data, and one
 * batch's outputs; with the option `score` all outputs.
 *
 * Rejects with a TypeError or RangeError for arguments; VertexqError with the code ERR_VERTEXQ_FILE, _ONNX, _RUNTIME, _MEMORY,
 * _UNSUPPORTED (the networks do not belong together), and what reading data brings (ERR_VERTEXQ_CALIBRATION and others); with the
 * signal's reason when aborted.
 */
export async function evaluateModel(
  floatModel: string,
  quantizedModel: string,
  given: EvaluateOptions,
): Promise<Evaluation> {
  const started = performance.now();
  checkArguments(floatModel, quantizedModel, given);
  // The caller may change his while this runs.
  const options = { ...given };
  return namingMemory(`${floatModel} beside ${quantizedModel}`, () =>
    evaluate(floatModel, quantizedModel, options, started),
  );
}

async function evaluate(
  floatModel: string,
  quantizedModel: string,
  options: EvaluateOptions,
  started: number,
): Promise<Evaluation> {
  options.signal?.throwIfAborted();
  const [float, quantized] = [await readNetwork(floatModel), await readNetwork(quantizedModel)];
  const warnings: Warning[] = [];
  const outputs = commonOutputs(float, quantized, warnings);
  requireSameInputs(float, quantized);
  const data = await prepareSamples(options.data, 'data', {
    ...dataOptionsOf(options),
    inputs: float.inputs,
    signal: options.signal,
  });
  const both = await Both.load(float, quantized, outputs, options);
  try {
    const { errors, score } = await both.compare(data, float.outputs);
    const latency = await both.time(data);
    for (const output of errors) warnings.push(...output.warnings(data.notFinite));
    return {
      floatModel,
      quantizedModel,
      samples: data.samples,
      outputs: errors.map((output) => output.result()),
      score,
      bytes: { float: float.bytes, quantized: quantized.bytes },
      latency,
      hints: latencyHints(quantized.unpacked, latency),
      seconds: (performance.now() - started) / 1000,
      warnings: [...data.warnings, ...warnings],
      environment: environment(runtimeVersion()),
    };
  } finally {
    await both.end();
  }
}

function checkArguments(floatModel: unknown, quantizedModel: unknown, options: EvaluateOptions): void {
  requirePath('float model', floatModel, networkPath);
  requirePath('quantized model', quantizedModel, networkPath);
  checkOptions('evaluateModel', options);
  checkTextOptions(options);
  if (options.data === undefined)
    throw new TypeError('Evaluating needs the option "data": samples that calibration has not seen');
}

/** The tensors that both networks give, by the float network's order. */
function commonOutputs(float: NetworkFile, quantized: NetworkFile, warnings: Warning[]): string[] {
  const theirs = new Set(quantized.outputs.map(({ name }) => name));
  const common = float.outputs.filter(({ name }) => theirs.has(name));
  const tensors = common.filter(({ type }) => type !== 'unknown').map(({ name }) => name);
  const list = ({ outputs }: NetworkFile) =>
    outputs
      .slice(0, 10)
      .map(({ name }) => describe(name))
      .join(', ') || 'none';
  if (tensors.length === 0)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `The networks have no output tensor in common: ${float.file} has ${list(float)}, ${quantized.file} ${list(quantized)}`,
    );
  for (const { name } of float.outputs)
    if (!theirs.has(name))
      warnings.push(
        warn(
          'WARN_VERTEXQ_OUTPUT_LEFT_OUT',
          `The quantized network has no output ${describe(name)}: it is left out`,
        ),
      );
  for (const { name, type } of common)
    if (type === 'unknown')
      warnings.push(
        warn('WARN_VERTEXQ_OUTPUT_LEFT_OUT', `The output ${describe(name)} is no tensor: it is left out`),
      );
  return tensors;
}

/** Throws unless the quantized network takes the same inputs as the float one. */
function requireSameInputs(float: NetworkFile, quantized: NetworkFile): void {
  const types = new Map(float.inputs.map(({ name, type }) => [name, type]));
  for (const { name, type } of quantized.inputs)
    if (types.get(name) !== type)
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${quantized.file} has the input ${describe(name)} of ${type}, and ${float.file} ` +
          `${types.has(name) ? `one of ${types.get(name)}` : 'none of that name'}: the networks should take the same data`,
      );
}

/** The two networks, loaded. */
class Both {
  private constructor(
    private readonly float: Network,
    private readonly quantized: Network,
    private readonly names: readonly string[],
    private readonly options: EvaluateOptions,
  ) {}

  static async load(
    { file }: NetworkFile,
    quantized: NetworkFile,
    names: string[],
    options: EvaluateOptions,
  ): Promise<Both> {
    const { threads, accuracyLevel } = options;
    const load = async (path: string) => Network.load(path, names, { threads, accuracyLevel }, path);
    const float = await load(file);
    try {
      return new Both(float, await load(quantized.file), names, options);
    } catch (error) {
      await float.end();
      throw error;
    }
  }

  async end(): Promise<void> {
    await this.float.end();
    await this.quantized.end();
  }

  /** Compares the outputs on all of the data. */
  async compare(
    { feeds, sizes, batchNames }: PreparedSamples,
    outputs: readonly DescribedValue[],
  ): Promise<{ errors: OutputErrors[]; score: Evaluation['score'] }> {
    const { signal, onProgress, score } = this.options;
    const errors = this.names.map(
      (name) =>
        new OutputErrors(
          name,
          outputAxis(
            outputs.find((output) => output.name === name)!,
            batchNames,
          ),
        ),
    );
    const kept: { float: ModelOutputs[]; quantized: ModelOutputs[] } = { float: [], quantized: [] };
    let done = 0;
    const tell = () => onProgress?.({ stage: 'evaluate', done, total: feeds.length });
    tell();
    for await (const answers of runBoth(this.float, this.quantized, feeds, sizes, signal)) {
      for (const [i, name] of this.names.entries())
        await errors[i]!.add(answers.float[name]!, answers.quantized[name], answers.samples);
      done++;
      tell();
      if (!score) continue;
      kept.float.push(answers.float);
      kept.quantized.push(answers.quantized);
    }
    if (!score) return { errors, score: null };
    return {
      errors,
      score: {
        float: await scoreOf(score, kept.float, feeds),
        quantized: await scoreOf(score, kept.quantized, feeds),
      },
    };
  }

  /** Times a batch from the middle of the data: texts are in the order of their length. */
  async time({ feeds, sizes }: PreparedSamples): Promise<Evaluation['latency']> {
    const { runs = defaultRuns, signal, onProgress } = this.options;
    if (runs === 0) return null;
    const middle = Math.floor(feeds.length / 2);
    const feed = feeds[middle]!;
    onProgress?.({ stage: 'time', done: 0, total: runs });
    const times = await timeBoth(
      { float: () => this.float.run(feed), quantized: () => this.quantized.run(feed) },
      runs,
      (done) => {
        onProgress?.({ stage: 'time', done, total: runs });
        signal?.throwIfAborted();
      },
    );
    return { ...times, samples: sizes[middle]!, runs };
  }
}
