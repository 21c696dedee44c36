import type { Inspection, Report } from '../../lib/models/types';
import type { LayerReport } from '../../lib/types';

export function layerReport(name: string, changes: Partial<LayerReport> = {}): LayerReport {
  return {
    name,
    kind: 'MatMul',
    shape: [768, 3072],
    method: 'maly-saab',
    bits: 4,
    groupSize: 32,
    samples: 18000,
    rank: 2100,
    freeEntries: 1834.25,
    error: { calibration: 0.0123456, holdout: 0.0456, weight: 0.1 },
    sqnrDb: 26.82,
    sphereGapDb: null,
    bound: 0.5,
    seconds: 12.3,
    bytes: { before: 9437184, after: 1327104 },
    warnings: [],
    ...changes,
  };
}

export function sampleReport(changes: Partial<Report> = {}): Report {
  return {
    input: 'in.onnx',
    output: 'out.onnx',
    format: 'matmulnbits',
    layers: [layerReport('/encoder/layer.0/query/MatMul'), layerReport('/encoder/layer.0/key/MatMul')],
    skipped: [],
    bytes: { before: 438e6, after: 98e6, weightsBefore: 340e6, weightsAfter: 48e6 },
    seconds: 83.2,
    warnings: [],
    environment: {
      vertexq: '0.1.0',
      node: 'v20.17.0',
      blas: 'OpenBLAS',
      blasCore: 'Haswell',
      onnxruntime: null,
    },
    ...changes,
  };
}

export function sampleInspection(changes: Partial<Inspection> = {}): Inspection {
  return {
    input: 'in.onnx',
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
