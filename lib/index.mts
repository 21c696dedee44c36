// The same classes and functions for `import` as for `require`: this module only names them.
export {
  VertexqError,
  compareMethods,
  evaluateCheckpoint,
  evaluateLanguageModel,
  evaluateModel,
  htmlReport,
  inspectCheckpoint,
  inspectModel,
  measureSensitivity,
  planCheckpoint,
  planModel,
  preprocess,
  quantizeCheckpoint,
  quantizeLanguageModel,
  quantizeLayer,
  quantizeModel,
  verifyCheckpoint,
  version,
} from './index.js';
export type * from './index.js';
