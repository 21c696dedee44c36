import { withCheckpointConfig, withConfig } from '../../lib/cli/config';
import type { Context } from '../../lib/cli/context';
import { run } from '../../lib/cli/main';
import type { CompareOptions } from '../../lib/compare/types';
import type { WriteCalibrationSetOptions } from '../../lib/models/write-calibration-set';
import type { TuneOptions } from '../../lib/tuning/types';
import type { EvaluateCheckpointOptions } from '../../lib/evaluate/language/types';
import type { EvaluateOptions } from '../../lib/evaluate/types';
import type { ModelOptions } from '../../lib/models/types';
import { sampleComparison, sampleEvaluation, sampleInspection, sampleReport } from '../reports/samples';
import type { CheckpointOptions } from '../../lib/checkpoints/types';
import type { SensitivityOptions } from '../../lib/sensitivity/measure-sensitivity';
import { sampleSensitivity } from '../sensitivity/sample';
import {
  sampleCheckpointEvaluation,
  sampleCheckpointInspection,
  sampleCheckpointReport,
  samplePlan,
  sampleVerification,
  sampleTuneReport,
} from '../reports/checkpoint-samples';

/** What a run of the command line did. */
export interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
  /** The library calls it made. */
  calls: {
    input: string;
    output?: string;
    options?: ModelOptions;
    compared?: CompareOptions;
    evaluated?: EvaluateOptions;
    judged?: EvaluateCheckpointOptions;
    tuned?: TuneOptions;
    written?: WriteCalibrationSetOptions;
    checkpoint?: CheckpointOptions;
    measured?: SensitivityOptions;
  }[];
}

/** Without the times that lines of progress begin with. */
export const untimed = (stderr: string): string => stderr.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ /gm, '');

export interface FakeContext extends Partial<Omit<Context, 'stdout' | 'stderr'>> {
  terminal?: boolean;
  columns?: number;
}

/** Runs the command line with a library that does nothing but what `changes` says. */
export async function runFake(args: readonly string[], changes: FakeContext = {}): Promise<Outcome> {
  const outcome: Outcome = { code: -1, stdout: '', stderr: '', calls: [] };
  const {
    terminal = false,
    columns = 100,
    quantizeModel,
    compareMethods,
    evaluateModel,
    inspectModel,
    measureSensitivity,
    evaluateCheckpoint,
    ...rest
  } = changes;
  const size = terminal ? { isTTY: true, columns } : {};
  outcome.code = await run(args, {
    stdout: { write: (text) => (outcome.stdout += text), ...size },
    stderr: { write: (text) => (outcome.stderr += text), ...size },
    env: {},
    signal: new AbortController().signal,
    withConfig,
    withCheckpointConfig,
    quantizeModel: async (input, output, options, files) => {
      outcome.calls.push({ input, output, options });
      return quantizeModel ? quantizeModel(input, output, options, files) : sampleReport({ input, output });
    },
    planModel: async (input, output, options) => {
      outcome.calls.push({ input, output, options });
      return Promise.resolve(samplePlan({ input, output }));
    },
    compareMethods: async (input, compared, files) => {
      outcome.calls.push({ input, compared });
      return compareMethods ? compareMethods(input, compared, files) : sampleComparison({ input });
    },
    evaluateModel: async (input, output, evaluated) => {
      outcome.calls.push({ input, output, evaluated });
      return evaluateModel ? evaluateModel(input, output, evaluated) : sampleEvaluation();
    },
    measureSensitivity: async (input, measured, files) => {
      outcome.calls.push({ input, measured });
      return measureSensitivity
        ? measureSensitivity(input, measured, files)
        : Promise.resolve(sampleSensitivity());
    },
    evaluateCheckpoint: async (input, outputs, judged) => {
      outcome.calls.push({ input, output: outputs.join(), judged });
      return evaluateCheckpoint
        ? evaluateCheckpoint(input, outputs, judged)
        : sampleCheckpointEvaluation({ float: input });
    },
    tuneCheckpoint: async (input, quantized, output, tuned) => {
      outcome.calls.push({ input: `${input} ${quantized}`, output, tuned });
      return Promise.resolve(sampleTuneReport({ output }));
    },
    writeCalibrationSet: (input, output, written) => {
      outcome.calls.push({ input, output, written });
      return Promise.resolve({ input, output, samples: 1, tensors: [], bytes: 0, warnings: [] });
    },
    quantizeCheckpoint: async (input, output, checkpoint) => {
      outcome.calls.push({ input, output, checkpoint });
      return Promise.resolve(sampleCheckpointReport({ input, output }));
    },
    planCheckpoint: async (input, output, checkpoint) => {
      outcome.calls.push({ input, output, checkpoint });
      return Promise.resolve(samplePlan({ input, output }));
    },
    inspectCheckpoint: async (input) => {
      outcome.calls.push({ input });
      return Promise.resolve(sampleCheckpointInspection({ input }));
    },
    examine: () => Promise.resolve({ vertexq: '0.1.0', platform: 'linux-x64', ok: true, findings: [] }),
    verifyCheckpoint: () => Promise.resolve(sampleVerification()),
    verifyModel: () => Promise.resolve(sampleVerification()),
    // What comes of a plan is for the library to say: test/cli/library.ts.
    planRun: () => Promise.reject(new Error('no plan')),
    runShard: () => Promise.reject(new Error('no plan')),
    finishRun: () => Promise.reject(new Error('no plan')),
    submitRun: () => Promise.reject(new Error('no queue')),
    runWorker: () => Promise.reject(new Error('no queue')),
    runStatus: () => Promise.reject(new Error('no queue')),
    serveFleet: () => Promise.reject(new Error('no queue')),
    cancelRun: () => Promise.reject(new Error('no queue')),
    inspectModel: async (input) => {
      outcome.calls.push({ input });
      return inspectModel ? inspectModel(input) : sampleInspection({ input });
    },
    ...rest,
  });
  return outcome;
}
