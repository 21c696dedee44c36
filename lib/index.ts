export { inspectCheckpoint } from './checkpoints/inspect-checkpoint';
export { planCheckpoint } from './checkpoints/plan-checkpoint';
export { quantizeCheckpoint } from './checkpoints/quantize-checkpoint';
export { quantizeLanguageModel, type LanguageModelOptions } from './checkpoints/quantize-language-model';
export { finishRun } from './checkpoints/sharded/finish-run';
export { planRun } from './checkpoints/sharded/plan-run';
export { runShard } from './checkpoints/sharded/run-shard';
export type {
  FinishReport,
  PlanFile,
  PlannedFile,
  PlannedInput,
  PlannedRunOptions,
  PlannedUnit,
  ShardOfPlan,
  ShardOptions,
  LayerSums,
  ShardReport,
} from './checkpoints/sharded/types';
export { verifyCheckpoint } from './checkpoints/verify-checkpoint';
export { compareMethods } from './compare/compare-methods';
export { VertexqError } from './errors';
export { cancelRun } from './fleet/cancel-run';
export { serveFleet } from './fleet/page/serve-fleet';
export { runStatus } from './fleet/run-status';
export { runWorker } from './fleet/run-worker';
export { submitRun } from './fleet/submit-run';
export type {
  CancelOptions,
  FleetEvent,
  FleetPage,
  FleetStatus,
  LayerStatus,
  Piece,
  QueueStatus,
  Rate,
  RunState,
  RunStatus,
  ServeOptions,
  StatusOptions,
  SubmitOptions,
  Submitted,
  WorkerOptions,
  WorkerReport,
} from './fleet/types';
export type { VertexqErrorCode } from './error-codes';
export type { VertexqWarningCode, Warning as VertexqWarning } from './warning-codes';
export { evaluateModel } from './evaluate/evaluate-model';
export { evaluateCheckpoint } from './evaluate/language/evaluate-checkpoint';
export { evaluateLanguageModel } from './evaluate/language/evaluate-language-model';
export { preprocess } from './fit/preprocess';
export { quantizeLayer } from './fit/quantize-layer';
export { inspectModel } from './models/inspect-model';
export { planModel } from './models/plan-model';
export { quantizeModel } from './models/quantize-model';
export { htmlReport } from './reports/html/html-report';
export { measureSensitivity, type SensitivityOptions } from './sensitivity/measure-sensitivity';
export { tuneCheckpoint } from './tuning/tune-checkpoint';
export { verifyModel } from './models/verify/verify-model';
export { writeCalibrationSet } from './models/write-calibration-set';
export type { WriteCalibrationSetOptions, WrittenCalibrationSet } from './models/write-calibration-set';
export type { Divergences, TuneOptions, TuneReport } from './tuning/types';
export { version } from './version';
export type {
  AlphabetOptions,
  Box,
  Errors,
  FloatArray,
  Grid,
  InspectedWeight,
  JobOptions,
  LayerInput,
  LayerReport,
  Method,
  Preprocessed,
  PreprocessOptions,
  Progress,
  QuantizedLayer,
  QuantizeLayerOptions,
  QuantizeOptions,
  SkippedWeight,
  TensorLike,
} from './types';
export type {
  CalibrationData,
  DataCounts,
  DataOptions,
  Feeds,
  ImageOptions,
  InspectedLayer,
  Inspection,
  LayerOverride,
  ModelOptions,
  Report,
} from './models/types';
export type { OptionError } from './options/messages';
export type { BudgetReport, ChosenWidths } from './sensitivity/choose';
export type { MeasuredWidth, SensitiveLayer, Sensitivity, Width } from './sensitivity/types';
export type { Failure, JsonReport } from './reports/json-report';
export type { PlannedTensor, RunPlan } from './runs/plan';
export type { ComparedRun, CompareOptions, Comparison } from './compare/types';
export type {
  EvaluateOptions,
  Evaluation,
  Latency,
  ModelOutputs,
  OutputError,
  OutputEvaluation,
  Score,
} from './evaluate/types';
export type {
  CheckpointEvaluation,
  CheckpointMeasures,
  DocumentMeasures,
  Estimate,
  EvaluateCheckpointOptions,
  LanguageEvaluation,
  NextTokenMeasures,
} from './evaluate/language/types';
export type { CheckpointFormat, ModelFormat } from './encodings/names';
export type {
  CheckpointInspection,
  CheckpointOptions,
  CheckpointReport,
  InspectedTensor,
  Verification,
  VerifiedWeight,
  WeightOverride,
} from './checkpoints/types';
