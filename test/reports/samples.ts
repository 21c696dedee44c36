import { meanErrors } from '../../lib/compare/run-errors';
import type { ComparedRun, Comparison } from '../../lib/compare/types';
import { layerErrors } from '../../lib/fit/layer-errors';
import type { Evaluation } from '../../lib/evaluate/types';
import type { Inspection, Report } from '../../lib/models/types';
import type { Provenance } from '../../lib/runs/provenance';
import type { LayerReport } from '../../lib/types';

export function layerReport(name: string, changes: Partial<LayerReport> = {}): LayerReport {
  return {
    name,
    kind: 'MatMul',
    shape: [768, 3072],
    method: 'maly-saab',
    fellBackFrom: null,
    errorCorrection: false,
    bits: 4,
    groupSize: 32,
    samples: 18000,
    rank: 2100,
    freeEntries: 1834.25,
    error: layerErrors(
      { calibration: 0.0123456, holdout: 0.0456 },
      { calibration: 0.0234, holdout: 0.0567 },
      0.1,
    ),
    weighted: null,
    sqnrDb: 26.82,
    sphereGapDb: null,
    passes: null,
    walked: null,
    damping: null,
    bound: 0.5,
    seconds: 12.3,
    bytes: { before: 9437184, after: 1327104 },
    storedBits: 4.5,
    warnings: [],
    ...changes,
  };
}

export function sampleReport(changes: Partial<Report> = {}): Report {
  return {
    schemaVersion: 1,
    input: 'in.onnx',
    output: 'out.onnx',
    files: ['out.onnx'],
    format: 'matmulnbits',
    layers: [layerReport('/encoder/layer.0/query/MatMul'), layerReport('/encoder/layer.0/key/MatMul')],
    skipped: [],
    bytes: { before: 438e6, after: 98e6, weightsBefore: 340e6, weightsAfter: 48e6 },
    calibration: null,
    resumed: 0,
    seconds: 83.2,
    warnings: [],
    environment: {
      vertexq: '0.1.0',
      node: 'v20.17.0',
      blas: 'OpenBLAS',
      blasCore: 'Haswell',
      onnxruntime: null,
    },
    provenance: sampleProvenance(),
    ...changes,
  };
}

export function sampleProvenance(changes: Partial<Provenance> = {}): Provenance {
  return {
    ...{ vertexq: '0.1.0', options: { format: 'matmulnbits', bits: 4 }, input: 'a'.repeat(64) },
    ...{ data: null, kernels: null, onnxruntime: null },
    ...changes,
  };
}

export function sampleInspection(changes: Partial<Inspection> = {}): Inspection {
  return {
    input: 'in.onnx',
    provenance: null,
    irVersion: 8,
    opsets: { 'ai.onnx': 17 },
    producer: 'pytorch 2.4',
    inputs: [{ name: 'ids', type: 'int64', dims: ['batch', null, 3] }],
    outputs: [{ name: 'logits', type: 'float32', dims: ['batch', 10] }],
    layers: [
      {
        name: '/fc/MatMul',
        kind: 'MatMul',
        shape: [10, 300],
        weight: 'fc.weight',
        parameters: 3000,
        bytes: 12000,
      },
    ],
    others: [{ kind: 'Gather', count: 2, bytes: 4096 }],
    operators: { MatMul: 1, Gather: 2 },
    bytes: { file: 20000, quantizable: 12000, otherWeights: 4096 },
    ...changes,
  };
}

export function comparedRun(changes: Partial<ComparedRun> = {}): ComparedRun {
  return {
    method: 'vertex',
    bits: 4,
    layers: [layerReport('first'), layerReport('second')],
    ...meanErrors([layerReport('first'), layerReport('second')]),
    output: { error: 0.02, cosine: 0.99876, rows: 100 },
    score: null,
    seconds: 3.2,
    bytes: { before: 340e6, after: 48e6 },
    ...changes,
  };
}

export function sampleComparison(changes: Partial<Comparison> = {}): Comparison {
  return {
    input: 'in.onnx',
    methods: ['vertex', 'msq'],
    bits: [2, 4],
    samples: { calibration: 900, holdout: 100 },
    runs: [
      comparedRun({ bits: 2, output: { error: 0.2, cosine: 0.9, rows: 100 } }),
      comparedRun({ bits: 2, method: 'msq', output: { error: 0.5, cosine: 0.7, rows: 100 } }),
      comparedRun(),
      comparedRun({ method: 'msq', output: { error: 0.04, cosine: 0.99, rows: 100 } }),
    ],
    score: null,
    skipped: [],
    seconds: 83.2,
    warnings: [],
    environment: sampleReport().environment,
    ...changes,
  };
}

export function sampleEvaluation(changes: Partial<Evaluation> = {}): Evaluation {
  return {
    floatModel: 'in.onnx',
    quantizedModel: 'out.onnx',
    samples: 500,
    outputs: [
      {
        name: 'logits',
        type: 'float32',
        rows: 500,
        cosine: 0.99876,
        error: 0.05,
        sqnrDb: 26.02,
        maxError: 0.3125,
        agreement: 0.984,
        notFinite: { float: 0, quantized: 0 },
        otherShape: 0,
      },
    ],
    score: null,
    bytes: { float: 438e6, quantized: 98e6 },
    latency: {
      float: { median: 0.0123, lower: 0.012, upper: 0.0125 },
      quantized: { median: 0.005, lower: 0.0049, upper: 1.2 },
      samples: 32,
      runs: 10,
    },
    hints: [],
    seconds: 3.2,
    warnings: [],
    environment: sampleReport().environment,
    ...changes,
  };
}
