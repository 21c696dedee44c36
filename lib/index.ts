export { inspectCheckpoint } from './checkpoints/inspect-checkpoint';
export { planCheckpoint } from './checkpoints/plan-checkpoint';
export { quantizeCheckpoint } from './checkpoints/quantize-checkpoint';
export { compareMethods } from './compare/compare-methods';
export { VertexqError } from './errors';
export { preprocess } from './layers/preprocess';
export { quantizeLayer } from './layers/quantize-layer';
export { inspectModel } from './models/inspect-model';
export { quantizeModel } from './models/quantize-model';
export { version } from './version';
export type {
  AlphabetOptions,
  Box,
  FloatArray,
  Grid,
  JobOptions,
  LayerInput,
  LayerReport,
  Method,
  Preprocessed,
  PreprocessOptions,
  Progress,
  QuantizedLayer,
  QuantizeOptions,
} from './types';
export type {
  CalibrationData,
  Feeds,
  InspectedLayer,
  Inspection,
  ModelOptions,
  Report,
  TensorLike,
} from './models/types';
export type {
  CheckpointFormat,
  CheckpointInspection,
  CheckpointOptions,
  CheckpointPlan,
  CheckpointReport,
  InspectedTensor,
  InspectedWeight,
  PlannedTensor,
  WeightOverride,
} from './checkpoints/types';
export type { ComparedRun, CompareOptions, Comparison, ModelOutputs, OutputError } from './compare/types';
