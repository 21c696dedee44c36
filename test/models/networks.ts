import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { ExecutionContext } from 'ava';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { tensor, valueInfo } from '../../lib/containers/onnx/make';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from '../../lib/containers/onnx/onnx_pb';
import type { Feeds } from '../../lib/models/types';

export const float = (name: string, dims?: readonly (number | string)[]) =>
  valueInfo(name, DataType.FLOAT, dims);

/** Numbers around 0, the same for the same seed. */
export function random(count: number, seed: number): Float32Array {
  let state = seed * 7919 + 1;
  const next = () => (state = (state * 48271) % 2147483647) / 2147483647;
  return Float32Array.from({ length: count }, () => next() + next() + next() - 1.5);
}

/** A constant of such numbers. */
export const weight = (name: string, dims: readonly number[], seed: number): TensorProto =>
  tensor(
    name,
    dims,
    random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
  );

export const feed = (dims: number[], seed: number): Feeds => ({
  x: {
    data: random(
      dims.reduce((a, b) => a * b, 1),
      seed,
    ),
    dims,
    type: 'float32',
  },
});

export interface Parts {
  nodes: NodeProto[];
  constants: TensorProto[];
  inputs?: ValueInfoProto[];
  outputs?: ValueInfoProto[];
  model?: { irVersion: bigint; opsetImport: { domain: string; version: bigint }[] };
}

/** A model with the input `x` and the output `y`, unless `inputs` and `outputs` say otherwise. */
export function network({
  nodes,
  constants,
  inputs = [float('x')],
  outputs = [float('y')],
  model,
}: Parts): ModelProto {
  const graph = create(GraphProtoSchema, {
    name: 'g',
    node: nodes,
    initializer: constants,
    input: inputs,
    output: outputs,
  });
  return create(ModelProtoSchema, {
    irVersion: model?.irVersion ?? 8n,
    opsetImport: model?.opsetImport ?? [{ domain: '', version: 17n }],
    graph,
  });
}

/** The values of a float32 tensor with raw data. */
export const floatsOf = ({ rawData }: TensorProto): Float32Array =>
  new Float32Array(Uint8Array.from(rawData).buffer);

export const bytesOf = (model: ModelProto): Uint8Array => toBinary(ModelProtoSchema, model);
export const readBack = (path: string): ModelProto => fromBinary(ModelProtoSchema, readFileSync(path));

/** A folder that goes when the test ends. */
export function folder(t: ExecutionContext): string {
  const path = mkdtempSync(join(tmpdir(), 'vertexq-models-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The paths of a model's file and of an output beside it. */
export function files(
  t: ExecutionContext,
  model: ModelProto | Uint8Array,
): { input: string; output: string } {
  const path = folder(t);
  const input = join(path, 'in.onnx');
  writeFileSync(input, model instanceof Uint8Array ? model : bytesOf(model));
  return { input, output: join(path, 'out.onnx') };
}

/** Has the runtime compute in float where it would round activations to 8 bits: in blocked DequantizeLinear before MatMul. */
export const inFloat: InferenceSession.SessionOptions = {
  extra: { session: { qdq_matmulnbits_accuracy_level: '1' } },
};

/** A network's outputs in onnxruntime. */
export async function run(
  model: string | ModelProto,
  feeds: Feeds,
  options: InferenceSession.SessionOptions = {},
): Promise<Record<string, Float32Array>> {
  const bytes = typeof model === 'string' ? readFileSync(model) : bytesOf(model);
  const session = await InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
    // Else products with a DequantizeLinear's output are computed with activations of 8 bits.
    extra: { session: { qdq_matmulnbits_accuracy_level: '1' } },
    ...options,
  });
  try {
    const tensors = Object.entries(feeds).map(
      ([name, { data, dims, type }]) =>
        [name, new Tensor(type as 'float32', data as Float32Array, dims)] as const,
    );
    const results = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(
      Object.entries(results).map(([name, { data }]) => [name, data as Float32Array]),
    );
  } finally {
    await session.release();
  }
}

/** The largest difference, relative to the largest number. */
export function difference(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) return Infinity;
  let [most, largest] = [0, 0];
  for (const [i, value] of a.entries()) {
    most = Math.max(most, Math.abs(value - b[i]!));
    largest = Math.max(largest, Math.abs(value));
    if (Number.isNaN(value - b[i]!)) return Infinity;
  }
  return largest === 0 ? most : most / largest;
}
