import { namingMemory } from '../errors';
import { environment } from '../environment';
import { Network, runBoth } from '../evaluate/network';
import { OutputErrorSum } from '../evaluate/output-error';
import { type OutputAxis, outputAxis } from '../evaluate/output-axis';
import { scoreOf } from '../evaluate/score';
import type { CalibrationSet } from '../models/calibration-set';
import { checkModelOptions, type ModelSettings } from '../models/model-options';
import { networkPath, requirePath } from '../options/messages';
import { prepareData, selectLayers } from '../models/model-steps';
import { type OpenModel, openModel } from '../models/open-model';
import { describeValue } from '../containers/onnx/value-info';
import { runtimeVersion } from '../models/runtime';
import { quantizeInto } from '../models/quantize-into';
import { addModelPaths } from '../models/run-files';
import { Workspace } from '../runs/workspace';
import { RunFiles } from '../runs/run-files';
import type { JobOptions } from '../types';
import { jobOptions, chooseRuns, type RunChoice } from './compare-options';
import { meanErrors } from './run-errors';
import type { ComparedRun, CompareOptions, Comparison, ModelOutputs } from './types';
import { warn, type Warning } from '../warning-codes';

interface ModelRun extends RunChoice {
  settings: ModelSettings;
}

/** `compareMethods` of a model, in a run that may write a file too. */
export async function compareModel(
  input: string,
  given: CompareOptions,
  files = new RunFiles(),
): Promise<Comparison> {
  return namingMemory(input, () => compare(input, given, files));
}

async function compare(input: string, given: CompareOptions, files: RunFiles): Promise<Comparison> {
  const started = performance.now();
  const options = { ...given };
  requirePath('input', input, networkPath);
  const choices = chooseRuns(options, 'model', false).map((choice): ModelRun => {
    if (options.calibration === undefined)
      throw new RangeError('Comparing methods on a model needs the option "calibration": data to run it on');
    return { ...choice, settings: checkModelOptions(choice.options) };
  });
  options.signal?.throwIfAborted();
  const opened = await openModel(input, choices[0]!.settings.encoding);
  await addModelPaths(files, input, null, options);
  for (const path of opened.dataFiles) files.reads("input's data", path);
  await files.check();
  const { layers, skipped } = await selectLayers(opened, choices[0]!.settings);
  const data = await prepareData(opened, layers, options);
  const evaluation = await Evaluation.of(opened, data, options);
  try {
    const runs: ComparedRun[] = [];
    for (const [i, choice] of choices.entries())
      runs.push(await runOf(input, choice, data, evaluation, jobOptions(options, choices, i)));
    return {
      input,
      methods: [...new Set(choices.map(({ method }) => method))],
      bits: [...new Set(choices.map(({ bits }) => bits))],
      samples: { calibration: data.samples.fit, holdout: data.samples.holdout },
      runs,
      score: evaluation.floatScore,
      skipped,
      seconds: (performance.now() - started) / 1000,
      warnings: [...data.warnings, ...evaluation.warnings],
      environment: environment(runtimeVersion()),
    };
  } finally {
    await evaluation.end();
  }
}

/** Quantizes the model and compares its outputs with those of the float network. */
async function runOf(
  input: string,
  { method, bits, settings, options }: ModelRun,
  data: CalibrationSet,
  evaluation: Evaluation,
  job: JobOptions,
): Promise<ComparedRun> {
  const started = performance.now();
  // Quantizing changes a model: every run has its own.
  const opened = await openModel(input, settings.encoding);
  const { layers: found } = await selectLayers(opened, settings);
  const workspace = Workspace.temporary();
  try {
    const written = await quantizeInto(workspace, fileName, opened, found, data, settings, {
      ...options,
      ...job,
    });
    const seconds = (performance.now() - started) / 1000;
    const { layers, weights } = written;
    const compared = await evaluation.compare(workspace.pathOf(fileName));
    return { method, bits, layers, ...meanErrors(layers), ...compared, seconds, bytes: weights };
  } finally {
    await workspace.end();
  }
}

/** The name of a run's network in its temporary folder. */
const fileName = 'compared.onnx';

/** Runs networks on the held-out feeds beside the float network. */
class Evaluation {
  floatScore: number | null = null;
  readonly warnings: Warning[] = [];

  private constructor(
    private readonly float: Network | null,
    private readonly outputs: string[],
    private readonly axes: ReadonlyMap<string, OutputAxis>,
    private readonly data: CalibrationSet,
    private readonly options: CompareOptions,
  ) {}

  static async of(
    { file, graph }: OpenModel,
    data: CalibrationSet,
    options: CompareOptions,
  ): Promise<Evaluation> {
    const described = graph.proto.output.map(describeValue).filter(({ type }) => type !== 'unknown');
    const names = described.map(({ name }) => name);
    const held = data.holdout.length > 0 && names.length > 0;
    const float = held ? await Network.load(file, names, {}, 'the float network') : null;
    const axes = new Map(described.map((output) => [output.name, outputAxis(output, data.batchNames)]));
    const evaluation = new Evaluation(float, names, axes, data, options);
    if (data.holdout.length === 0)
      evaluation.warnings.push(
        warn(
          'WARN_VERTEXQ_NO_HOLDOUT',
          'Nothing is held out: the error of the network\'s outputs is not known. Give more samples, or "holdout" data',
        ),
      );
    else if (!described.some(({ type }) => ['float16', 'float32', 'float64'].includes(type)))
      evaluation.warnings.push(
        warn('WARN_VERTEXQ_NO_FLOAT_OUTPUT', 'The network has no float output whose error could be told'),
      );
    try {
      if (float && options.score) {
        const answers: ModelOutputs[] = [];
        for (const feed of data.holdout) {
          options.signal?.throwIfAborted();
          answers.push(await float.run(feed));
        }
        evaluation.floatScore = await evaluation.score(answers);
      }
      return evaluation;
    } catch (error) {
      await evaluation.end();
      throw error;
    }
  }

  /** Of the quantized network in `file`. */
  async compare(file: string): Promise<Pick<ComparedRun, 'output' | 'score'>> {
    if (!this.float) return { output: null, score: null };
    const { holdout, holdoutSizes } = this.data;
    const quantized = await Network.load(file, this.outputs, {}, 'the quantized network');
    try {
      const sum = new OutputErrorSum(this.axes);
      const kept: ModelOutputs[] = [];
      for await (const answers of runBoth(
        this.float,
        quantized,
        holdout,
        holdoutSizes,
        this.options.signal,
      )) {
        await sum.add(answers.float, answers.quantized, answers.samples);
        if (this.options.score) kept.push(answers.quantized);
      }
      return { output: sum.result(), score: this.options.score ? await this.score(kept) : null };
    } finally {
      await quantized.end();
    }
  }

  async end(): Promise<void> {
    await this.float?.end();
  }

  private async score(answers: readonly ModelOutputs[]): Promise<number> {
    return scoreOf(this.options.score!, answers, this.data.holdout);
  }
}
