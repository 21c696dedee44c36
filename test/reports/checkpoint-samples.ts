import type { CheckpointInspection, CheckpointReport, Verification } from '../../lib/checkpoints/types';
import type { CheckpointEvaluation } from '../../lib/evaluate/language/types';
import type { RunPlan } from '../../lib/runs/plan';
import type { TuneReport } from '../../lib/tuning/types';
import { layerReport, sampleReport } from './samples';

export function sampleCheckpointReport(changes: Partial<CheckpointReport> = {}): CheckpointReport {
  return {
    ...sampleReport({ layers: [layerReport('model.layers.0.q_proj')] }),
    format: 'compressed-tensors',
    copied: { tensors: 3, bytes: 3_000_000 },
    calibration: null,
    resumed: 0,
    ...changes,
  };
}

export function sampleCheckpointEvaluation(
  changes: Partial<CheckpointEvaluation> = {},
): CheckpointEvaluation {
  const float = { mean: 38.04321, standardError: 1.2345 };
  const document = { perplexity: { float: 37, quantized: 41 }, klDivergence: 0.1, sameNextToken: 0.9 };
  return {
    ...{ float: 'float', bytes: 269e6, data: { documents: 5, windows: 9, longest: 512 } },
    checkpoints: [
      {
        ...{ quantized: 'out', bytes: 93e6, tokens: 4000 },
        perplexity: { float, quantized: { mean: 41.2, standardError: 1.3 } },
        perplexityRatio: { mean: 1.083, standardError: 0.00412 },
        klDivergence: { mean: 0.11402, standardError: 0.0021 },
        ...{ klDivergence999: 1.2345, sameNextToken: { mean: 0.843, standardError: 0.0031 } },
        documents: [0.1, 0.3, 0.2, 0.15, 0.05].map((klDivergence, i) => ({
          ...{ ...document, document: i, tokens: 800, klDivergence },
        })),
      },
    ],
    ...{
      seconds: 12.5,
      warnings: ['mind\u001b [WARN_VERTEXQ_NO_DATA]'],
      environment: sampleReport().environment,
    },
    ...changes,
  };
}

export function samplePlan(changes: Partial<RunPlan> = {}): RunPlan {
  return {
    ...{ input: 'in', output: 'out', format: 'gptq', files: ['out/model.safetensors', 'out/config.json'] },
    tensors: [
      {
        ...{
          name: 'a.weight',
          dtype: 'BF16',
          shape: [64, 128],
          action: 'quantize',
          reason: null,
          method: 'msq',
        },
        ...{ bits: 4, groupSize: 32, bytes: { before: 16_384, after: 4608 } },
      },
      {
        ...{ name: 'norm.weight', dtype: 'BF16', shape: [64], action: 'copy', reason: 'a vector' },
        ...{ method: null, bits: null, groupSize: null, bytes: { before: 128, after: 128 } },
      },
    ],
    skipped: [{ name: 'norm.weight', reason: 'a vector', bytes: 128, choice: true }],
    bytes: { before: 17_000, after: 5000, weightsBefore: 16_384, weightsAfter: 4608 },
    ...{
      bitsPerWeight: 4.5,
      fitted: 0,
      tokens: null,
      seconds: 2,
      memory: 1e8,
      warnings: ['no data [WARN_VERTEXQ_NO_DATA]'],
    },
    ...changes,
  };
}

export function sampleCheckpointInspection(
  changes: Partial<CheckpointInspection> = {},
): CheckpointInspection {
  const tensor = {
    name: 'a.weight',
    dtype: 'BF16',
    shape: [64, 128],
    bytes: 16_384,
    file: 'model.safetensors',
  };
  return {
    input: 'in',
    files: [{ name: 'model.safetensors', bytes: 17_000 }],
    layers: [tensor],
    others: [{ ...tensor, name: 'norm.weight', shape: [64], bytes: 128 }],
    quantization: {
      method: 'gptq',
      format: 'gptq_v2',
      weights: [{ name: 'b', shape: [64, 128], bits: 4, groupSize: 32, symmetric: false, bytes: 4608 }],
    },
    quantizedAlready: [],
    metadata: {},
    provenance: null,
    bytes: { files: 17_000, quantizable: 16_384, others: 128 },
    ...changes,
  };
}

export function sampleVerification(changes: Partial<Verification> = {}): Verification {
  return {
    ...{
      quantized: 'out',
      original: 'in',
      identical: { tensors: 1, bytes: 128 },
      faults: [],
      notCompared: [],
      manifest: null,
      seconds: 1,
    },
    weights: [{ name: 'a', shape: [64, 128], bits: 4, groupSize: 32, error: 0.1, bytes: 4608 }],
    ...changes,
  };
}

export const sampleTuneReport = (changes: Partial<TuneReport> = {}): TuneReport => ({
  ...{ float: 'float', quantized: 'quantized', output: 'tuned' },
  divergence: { before: { calibration: 0.26, holdout: 0.27 }, after: { calibration: 0.22, holdout: 0.25 } },
  isKept: true,
  data: {
    fit: { documents: 20, samples: 29, tokens: 14_848 },
    holdout: { documents: 3, samples: 3, tokens: 1536 },
  },
  ...{ steps: 29, weights: 6, scales: 1024, seconds: 12 },
  left: [{ name: 'lm_head.weight', reason: 'tokens are looked up in it, or logits made with it' }],
  warnings: ['little text [WARN_VERTEXQ_FEW_TOKENS]'],
  environment: sampleReport().environment,
  ...changes,
});
