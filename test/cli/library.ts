import { planCheckpointWith } from '../../lib/checkpoints/plan-checkpoint';
import { quantizeCheckpointWith } from '../../lib/checkpoints/quantize-checkpoint';
import { finishRunWith } from '../../lib/checkpoints/sharded/finish-run';
import { planRunWith } from '../../lib/checkpoints/sharded/plan-run';
import { runShardWith } from '../../lib/checkpoints/sharded/run-shard';
import type { Context } from '../../lib/cli/context';
import { compareModel } from '../../lib/compare/compare-model';
import { cancelRun } from '../../lib/fleet/cancel-run';
import { serveFleet } from '../../lib/fleet/page/serve-fleet';
import { runStatus } from '../../lib/fleet/run-status';
import { runWorker } from '../../lib/fleet/run-worker';
import { submitRun } from '../../lib/fleet/submit-run';
import { writeCalibrationSet } from '../../lib/models/write-calibration-set';
import { planModelWith } from '../../lib/models/plan-model';
import { quantizeModelWith } from '../../lib/models/quantize-model';
import { measureSensitivityWith } from '../../lib/sensitivity/measure-sensitivity';
import { type FakeContext, runFake } from './fake';

/** What a command does with the library itself behind it. */
type Functions = Pick<
  Context,
  | 'measureSensitivity'
  | 'writeCalibrationSet'
  | 'quantizeModel'
  | 'planModel'
  | 'compareMethods'
  | 'quantizeCheckpoint'
  | 'planCheckpoint'
  | 'planRun'
  | 'runShard'
  | 'finishRun'
  | 'submitRun'
  | 'runWorker'
  | 'runStatus'
  | 'serveFleet'
  | 'cancelRun'
>;

const library: Functions = {
  writeCalibrationSet,
  quantizeModel: (input, output, options, files) => quantizeModelWith(files, input, output, options),
  planModel: (input, output, options, files) => planModelWith(files, input, output, options),
  compareMethods: compareModel,
  measureSensitivity: (input, options, files) => measureSensitivityWith(files, input, options),
  quantizeCheckpoint: (input, output, options, files) =>
    quantizeCheckpointWith(files, input, output, options),
  planCheckpoint: (input, output, options, files) => planCheckpointWith(files, input, output, options),
  planRun: (input, output, options, files) => planRunWith(files, input, output, options),
  runShard: (plan, options, files) => runShardWith(files, plan, options),
  finishRun: (plan, options, files) => finishRunWith(files, plan, options),
  submitRun,
  runWorker,
  runStatus,
  serveFleet,
  cancelRun,
};

/** Runs the command line with the library, in this process. */
export const runWhole = (args: readonly string[], changes: FakeContext = {}) =>
  runFake(args, { ...library, ...changes });
