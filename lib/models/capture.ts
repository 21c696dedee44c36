import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../errors';
import type { Calibration } from '../layers/calibration';
import { modelBytes } from './onnx/codec';
import { usedBy } from './onnx/graph';
import {
  GraphProtoSchema,
  TensorProto_DataType as DataType,
  type ModelProto,
  type NodeProto,
} from './onnx/onnx_pb';
import { valueInfo } from './onnx/make';
import { loadSession, runSession } from './runtime';
import type { Feeds } from './types';

/** What a capture found out besides the rows. */
export interface Captured {
  /** Rank of the captured tensor. */
  rank: number;
}

export interface CaptureOptions {
  signal: AbortSignal | undefined;
  /** Called after each run with the number of feeds done. */
  onRun: (feedsDone: number) => void;
}

/**
 * Runs a network up to the value `target` on every feed and adds the value's rows to the feed's calibration: `into(index)`.
 * `featureAxis` says which of the tensor's axes is a row's. Memory: one feed's tensors at a time.
 */
export async function capture(
  model: ModelProto,
  target: string,
  featureAxis: -1 | -2,
  feeds: readonly Feeds[],
  into: (feedIndex: number) => Calibration,
  options: CaptureOptions,
): Promise<Captured> {
  const what = `the network up to "${target}"`;
  const session = await loadSession(modelBytes(upTo(model, target)), what);
  let rank = 0;
  try {
    for (const [index, feed] of feeds.entries()) {
      options.signal?.throwIfAborted();
      const tensor = (await runSession(session, feed, [target], what))[target]!;
      if (tensor.type !== 'float32')
        throw new VertexqError(
          'ERR_VERTEXQ_UNSUPPORTED',
          `the value "${target}" is ${tensor.type}, not float32`,
        );
      const calibration = into(index);
      rank = tensor.dims.length;
      if (rank < 2)
        throw new VertexqError(
          'ERR_VERTEXQ_UNSUPPORTED',
          `the value "${target}" is no matrix: it has rank ${rank}`,
        );
      const rows = rowsOf(tensor.data as Float32Array, tensor.dims, featureAxis);
      const width = featureAxis === -1 ? tensor.dims.at(-1) : tensor.dims.at(-2);
      if (width !== calibration.inFeatures)
        throw new VertexqError(
          'ERR_VERTEXQ_ONNX',
          `the value "${target}" has ${width} features, and the weight ${calibration.inFeatures} inputs`,
        );
      if (rows.length > 0) await calibration.add(rows, options.signal);
      options.onRun(index + 1);
    }
  } finally {
    await session.release();
  }
  return { rank };
}

/** A tensor's data as rows along `featureAxis`. */
function rowsOf(data: Float32Array, dims: readonly number[], featureAxis: -1 | -2): Float32Array {
  if (featureAxis === -1) return data;
  const features = dims.at(-2)!;
  const columns = dims.at(-1)!;
  const rows = new Float32Array(data.length);
  for (let start = 0; start < data.length; start += features * columns)
    for (let i = 0; i < features; i++)
      for (let j = 0; j < columns; j++) rows[start + j * features + i] = data[start + i * columns + j]!;
  return rows;
}

/** The part of a model that `target` depends on, with `target` as its only output. Shares nodes and weights with it. */
export function upTo(model: ModelProto, target: string): ModelProto {
  const source = model.graph!;
  const producers = new Map<string, NodeProto>();
  for (const node of source.node) for (const output of node.output) producers.set(output, node);
  const needed = new Set<string>();
  const nodes = new Set<NodeProto>();
  const pending = [target];
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (needed.has(name)) continue;
    needed.add(name);
    const node = producers.get(name);
    if (!node || nodes.has(node)) continue;
    nodes.add(node);
    pending.push(...usedBy(node));
  }
  // Functions of the model's own, and whatever else the schema does not know, stay.
  const part = shallowCopy(model);
  part.graph = create(GraphProtoSchema, {
    name: source.name,
    node: source.node.filter((node) => nodes.has(node)),
    initializer: source.initializer.filter((tensor) => needed.has(tensor.name)),
    input: source.input.filter((input) => needed.has(input.name)),
    output: [valueInfo(target, DataType.FLOAT)],
  });
  return part;
}

/** A copy whose nodes and lists can be changed; the weights are shared. */
export function workingCopy(model: ModelProto): ModelProto {
  const copy = shallowCopy(model);
  const graph = shallowCopy(model.graph!);
  graph.initializer = [...graph.initializer];
  graph.node = graph.node.map((node) => {
    const own = shallowCopy(node);
    own.input = [...node.input];
    return own;
  });
  copy.graph = graph;
  return copy;
}

/** The prototype holds the defaults of fields that are not set: a spread would lose them. */
function shallowCopy<T extends object>(message: T): T {
  return Object.assign(Object.create(Object.getPrototypeOf(message) as object) as T, message);
}
