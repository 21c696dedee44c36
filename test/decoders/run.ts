import { toBinary } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../lib/checkpoints/model-config';
import { openCheckpoint } from '../../lib/containers/safetensors/checkpoint';
import { ConfigReader } from '../../lib/decoders/config';
import { type OpenDecoder, openDecoder } from '../../lib/decoders/open';
import { ModelProtoSchema } from '../../lib/containers/onnx/onnx_pb';
import { shallowCopy } from '../../lib/containers/onnx/shallow-copy';
import { loadSession, runSession } from '../../lib/models/runtime';
import { type Weights, writeModel } from './tiny';

/** A language model's config and weights. */
export interface Model {
  config: Record<string, unknown>;
  weights: Weights;
  dtype?: 'F32' | 'F16' | 'BF16';
}

/** Writes a model, opens it and runs `use`. */
export async function withDecoder<Result>(
  { config, weights, dtype }: Model,
  longest: number,
  use: (decoder: OpenDecoder) => Result | Promise<Result>,
  isCached = false,
): Promise<Result> {
  const folder = mkdtempSync(join(tmpdir(), 'vertexq-decoder-'));
  try {
    writeModel(folder, config, weights, dtype);
    return await inFolder(folder, longest, use, isCached);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Opens the model of a folder and runs `use`. */
export async function inFolder<Result>(
  folder: string,
  longest: number,
  use: (decoder: OpenDecoder) => Result | Promise<Result>,
  isCached = false,
): Promise<Result> {
  const checkpoint = await openCheckpoint(folder);
  try {
    const read = (await readConfig(folder))!;
    return await use(
      openDecoder(checkpoint, new ConfigReader(read.path, read.fields), longest, { isCached }),
    );
  } finally {
    await checkpoint.close();
  }
}

/** [batch, sequence, vocabulary] of a model, run as a whole. */
export function logitsOf(
  model: Model,
  ids: readonly number[][],
  longest = ids[0]!.length,
): Promise<Float32Array> {
  return withDecoder(model, longest, run(ids));
}

/** The same of a network that is open. */
export function run(ids: readonly number[][]): (decoder: OpenDecoder) => Promise<Float32Array> {
  return async (decoder) => {
    const session = await sessionOf(decoder);
    const data = BigInt64Array.from(ids.flat(), BigInt);
    const feeds = { input_ids: { data, dims: [ids.length, ids[0]!.length], type: 'int64' as const } };
    const { logits } = await runSession(session, feeds, ['logits'], 'the network');
    await session.release();
    return logits!.data as Float32Array;
  };
}

/** A network that is open, loaded as a whole. */
export async function sessionOf({ model, weights, graph }: OpenDecoder): ReturnType<typeof loadSession> {
  const whole = shallowCopy(model);
  whole.graph = await weights.inlinedGraph(graph.proto);
  return loadSession(toBinary(ModelProtoSchema, whole), 'the network');
}
