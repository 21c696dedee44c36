import type {
  CheckpointInspection,
  CheckpointOptions,
  CheckpointReport,
  Verification,
} from '../checkpoints/types';
import type {
  FinishReport,
  PlanFile,
  PlannedRunOptions,
  ShardOptions,
  ShardReport,
} from '../checkpoints/sharded/types';
import type { CompareOptions, Comparison } from '../compare/types';
import type { CheckpointEvaluation, EvaluateCheckpointOptions } from '../evaluate/language/types';
import type { Diagnosis } from '../doctor/types';
import type { EvaluateOptions, Evaluation } from '../evaluate/types';
import type {
  CancelOptions,
  FleetPage,
  FleetStatus,
  ServeOptions,
  StatusOptions,
  SubmitOptions,
  Submitted,
  WorkerOptions,
  WorkerReport,
} from '../fleet/types';
import type { Inspection, ModelOptions, Report } from '../models/types';
import type { SensitivityOptions } from '../sensitivity/measure-sensitivity';
import type { Sensitivity } from '../sensitivity/types';
import type { WriteCalibrationSetOptions, WrittenCalibrationSet } from '../models/write-calibration-set';
import type { TuneOptions, TuneReport } from '../tuning/types';
import type { JobOptions } from '../types';
import type { RunPlan } from '../runs/plan';
import type { RunFiles } from '../runs/run-files';
import { warningLines } from '../reports/table';
import { type Paint, painter } from '../reports/text';
import { requireNoWarnings, type Warned } from './strict';

/** Where a command writes: `process.stdout` and `process.stderr`, or a test's own. */
export interface Output {
  write(text: string): unknown;
  isTTY?: boolean;
  columns?: number;
}

/** All that the commands touch of the world outside, so that tests can put their own in its place. */
export interface Context {
  /** For results: tables, JSON, help, the version. */
  stdout: Output;
  /** For everything else. */
  stderr: Output;
  env: Record<string, string | undefined>;
  /** Aborted by the first Ctrl-C. */
  signal: AbortSignal;
  /** Options of a file with those of the command line. */
  withConfig(file: string, flags: ModelOptions): Promise<ModelOptions>;
  withCheckpointConfig(file: string, flags: CheckpointOptions): Promise<CheckpointOptions>;
  /** `files`: what the command itself reads and writes; these functions add what they do, and check that all are apart. */
  quantizeModel(input: string, output: string, options: ModelOptions, files: RunFiles): Promise<Report>;
  planModel(input: string, output: string, options: ModelOptions, files: RunFiles): Promise<RunPlan>;
  compareMethods(input: string, options: CompareOptions, files: RunFiles): Promise<Comparison>;
  evaluateModel(float: string, quantized: string, options: EvaluateOptions): Promise<Evaluation>;
  evaluateCheckpoint(
    float: string,
    quantized: readonly string[],
    options: EvaluateCheckpointOptions,
  ): Promise<CheckpointEvaluation>;
  measureSensitivity(input: string, options: SensitivityOptions, files: RunFiles): Promise<Sensitivity>;
  inspectModel(input: string): Promise<Inspection>;
  quantizeCheckpoint(
    input: string,
    output: string,
    options: CheckpointOptions,
    files: RunFiles,
  ): Promise<CheckpointReport>;
  planCheckpoint(
    input: string,
    output: string,
    options: CheckpointOptions,
    files: RunFiles,
  ): Promise<RunPlan>;
  planRun(input: string, output: string, options: CheckpointOptions, files: RunFiles): Promise<PlanFile>;
  runShard(plan: string, options: ShardOptions, files: RunFiles): Promise<ShardReport>;
  finishRun(plan: string, options: PlannedRunOptions, files: RunFiles): Promise<FinishReport>;
  submitRun(plan: string, options: SubmitOptions): Promise<Submitted>;
  runWorker(options: WorkerOptions): Promise<WorkerReport>;
  runStatus(options: StatusOptions): Promise<FleetStatus>;
  serveFleet(options: ServeOptions): Promise<FleetPage>;
  cancelRun(run: string, options: CancelOptions): Promise<void>;
  inspectCheckpoint(input: string): Promise<CheckpointInspection>;
  verifyCheckpoint(
    quantized: string,
    original: string | undefined,
    options: JobOptions,
  ): Promise<Verification>;
  verifyModel(quantized: string, original: string | undefined, options: JobOptions): Promise<Verification>;
  writeCalibrationSet(
    input: string,
    output: string,
    options: WriteCalibrationSetOptions,
  ): Promise<WrittenCalibrationSet>;
  tuneCheckpoint(
    float: string,
    quantized: string,
    output: string,
    options: TuneOptions,
    files: RunFiles,
  ): Promise<TuneReport>;
  examine(): Promise<Diagnosis>;
}

/** The process's own context. The library, and with it the native addon, is loaded only when a command needs it. */
export function processContext(signal: AbortSignal): Context {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    signal,
    withConfig: async (...args) => (await import('./config.js')).withConfig(...args),
    withCheckpointConfig: async (...args) => (await import('./config.js')).withCheckpointConfig(...args),
    quantizeModel: async (input, output, options, files) =>
      (await import('../models/quantize-model.js')).quantizeModelWith(files, input, output, options),
    planModel: async (input, output, options, files) =>
      (await import('../models/plan-model.js')).planModelWith(files, input, output, options),
    compareMethods: async (...args) => (await import('../compare/compare-model.js')).compareModel(...args),
    evaluateModel: async (...args) => (await import('../evaluate/evaluate-model.js')).evaluateModel(...args),
    evaluateCheckpoint: async (...args) =>
      (await import('../evaluate/language/evaluate-checkpoint.js')).evaluateCheckpoint(...args),
    measureSensitivity: async (input, options, files) =>
      (await import('../sensitivity/measure-sensitivity.js')).measureSensitivityWith(files, input, options),
    inspectModel: async (input) => (await import('../models/inspect-model.js')).inspectModel(input),
    quantizeCheckpoint: async (input, output, options, files) =>
      (await import('../checkpoints/quantize-checkpoint.js')).quantizeCheckpointWith(
        files,
        input,
        output,
        options,
      ),
    planCheckpoint: async (input, output, options, files) =>
      (await import('../checkpoints/plan-checkpoint.js')).planCheckpointWith(files, input, output, options),
    planRun: async (input, output, options, files) =>
      (await import('../checkpoints/sharded/plan-run.js')).planRunWith(files, input, output, options),
    runShard: async (plan, options, files) =>
      (await import('../checkpoints/sharded/run-shard.js')).runShardWith(files, plan, options),
    finishRun: async (plan, options, files) =>
      (await import('../checkpoints/sharded/finish-run.js')).finishRunWith(files, plan, options),
    submitRun: async (...args) => (await import('../fleet/submit-run.js')).submitRun(...args),
    runWorker: async (...args) => (await import('../fleet/run-worker.js')).runWorker(...args),
    runStatus: async (...args) => (await import('../fleet/run-status.js')).runStatus(...args),
    serveFleet: async (...args) => (await import('../fleet/page/serve-fleet.js')).serveFleet(...args),
    cancelRun: async (...args) => (await import('../fleet/cancel-run.js')).cancelRun(...args),
    inspectCheckpoint: async (input) =>
      (await import('../checkpoints/inspect-checkpoint.js')).inspectCheckpoint(input, { signal }),
    verifyCheckpoint: async (...args) =>
      (await import('../checkpoints/verify-checkpoint.js')).verifyCheckpoint(...args),
    verifyModel: async (...args) => (await import('../models/verify/verify-model.js')).verifyModel(...args),
    writeCalibrationSet: async (...args) =>
      (await import('../models/write-calibration-set.js')).writeCalibrationSet(...args),
    tuneCheckpoint: async (float, quantized, output, options, files) =>
      (await import('../tuning/tune-checkpoint.js')).tuneCheckpointWith(
        files,
        float,
        quantized,
        output,
        options,
      ),
    examine: async () => (await import('../doctor/examine.js')).examine(),
  };
}

/** How to write to one of a context's outputs. */
export interface Look {
  /** Whether lines can be written over, as progress bars are. */
  terminal: boolean;
  color: boolean;
  width: number | undefined;
  paint: Paint;
}

export function lookOf(context: Context, to: 'stdout' | 'stderr' = 'stderr'): Look {
  const { env, [to]: output } = context;
  const terminal = output.isTTY === true && env['TERM'] !== 'dumb';
  const color = terminal && !env['NO_COLOR'];
  return { terminal, color, width: terminal ? output.columns : undefined, paint: painter(color) };
}

/**
 * Writes what a command has found: its table to stdout; with `json` all of it there, and the table to stderr; with `quiet` warnings
 * alone. Throws ERR_VERTEXQ_STRICT at warnings where it has to be `strict`.
 */
export function showResult(
  context: Context,
  result: Partial<Warned> | WrittenCalibrationSet | Verification | Diagnosis | FleetStatus,
  table: (look: Look) => string,
  { json = false, quiet = false, strict = false }: { json?: boolean; quiet?: boolean; strict?: boolean },
): void {
  const to = json ? 'stderr' : 'stdout';
  if (!quiet) context[to].write(`${table(lookOf(context, to))}\n`);
  else if ('warnings' in result && result.warnings?.length) {
    const { paint } = lookOf(context);
    context.stderr.write(`${warningLines({ warnings: result.warnings, layers: [] }, paint)}\n`);
  }
  if (json) context.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
  if (strict && 'warnings' in result) requireNoWarnings(result);
}
