import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { VertexqError } from '../errors';
import type { Calibration } from '../layers/calibration';
import { modelBytes } from './onnx/codec';
import { tensorsOf, usedBy } from './onnx/graph';
import { TensorProto_DataType as DataType, type ModelProto, type NodeProto } from './onnx/onnx_pb';
import { valueInfo } from './onnx/make';
import { isExternal } from './onnx/tensor';
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

/** What to run. Each part has the value to capture as its only output (`upTo`). */
export interface CaptureParts {
  /** The network as quantized so far. */
  seen: ModelProto;
  /** The float network, where its rows are wanted too. */
  float: ModelProto | null;
}

/**
 * Runs a network up to the value `target` on every feed and adds the value's rows to the feed's calibration: `into(index)`; with
 * `parts.float` together with those of the float network on the same feed. `featureAxis` says which of the tensor's axes is a
 * row's. Memory: one feed's tensors at a time.
 */
export async function capture(
  parts: CaptureParts,
  target: string,
  featureAxis: -1 | -2,
  feeds: readonly Feeds[],
  into: (feedIndex: number) => Calibration,
  options: CaptureOptions,
): Promise<Captured> {
  const runs: { session: InferenceSession; what: string }[] = [];
  let rank = 0;
  try {
    for (const [part, network] of [
      [parts.seen, 'the network'],
      [parts.float, 'the float network'],
    ] as const) {
      if (part === null) continue;
      const what = `${network} up to "${target}"`;
      runs.push({ session: await load(part, what), what });
    }
    for (const [index, feed] of feeds.entries()) {
      const values: Tensor[] = [];
      for (const { session, what } of runs) {
        options.signal?.throwIfAborted();
        values.push((await runSession(session, feed, [target], what))[target]!);
      }
      const [seen, float] = values as [Tensor, Tensor | undefined];
      const calibration = into(index);
      // A vector is one row, whichever side the weight is on.
      const axis = seen.dims.length === 1 ? -1 : featureAxis;
      checkValue(seen, target, axis, rank, calibration.inFeatures);
      rank = seen.dims.length;
      if (float) checkPair(seen, float, target);
      const rows = rowsOf(seen.data as Float32Array, seen.dims, axis);
      const targetRows = float && rowsOf(float.data as Float32Array, float.dims, axis);
      if (rows.length > 0) await calibration.add(rows, targetRows, options.signal);
      options.onRun(index + 1);
    }
  } finally {
    for (const { session } of runs) await session.release();
  }
  return { rank };
}

async function load(part: ModelProto, what: string): Promise<InferenceSession> {
  // The runtime would look for such a file in the process's working folder.
  for (const tensor of tensorsOf(part.graph!))
    if (isExternal(tensor))
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `${what} cannot be run: the data of its tensor "${tensor.name}" lies in another file, which this version of vertexq does not read`,
      );
  return loadSession(modelBytes(part), what);
}

/** Throws unless a value is a matrix of rows of `inFeatures` numbers. `rankBefore`: that of the values before it; 0 for none. */
function checkValue(
  { type, dims }: Tensor,
  target: string,
  axis: -1 | -2,
  rankBefore: number,
  inFeatures: number,
): void {
  if (type !== 'float32')
    throw new VertexqError('ERR_VERTEXQ_UNSUPPORTED', `the value "${target}" is ${type}, not float32`);
  if (axis === -2 && rankBefore !== 0 && rankBefore !== dims.length)
    throw new VertexqError(
      'ERR_VERTEXQ_UNSUPPORTED',
      `the value "${target}" has rank ${rankBefore} for some of the data and ${dims.length} for other: expected the same`,
    );
  if (dims.length === 0)
    throw new VertexqError('ERR_VERTEXQ_ONNX', `the value "${target}" is a single number, and no matrix`);
  const width = dims.at(axis);
  if (width !== inFeatures)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the value "${target}" has ${width} features, and the weight ${inFeatures} inputs`,
    );
}

/** Where a network picks rows by their values, those of the float network may be others. */
function checkPair(seen: Tensor, float: Tensor, target: string): void {
  if (float.type === seen.type && float.dims.join() === seen.dims.join()) return;
  throw new VertexqError(
    'ERR_VERTEXQ_UNSUPPORTED',
    `the value "${target}" is ${seen.type}[${seen.dims.join(', ')}] in the quantized network and ${float.type}[${float.dims.join(', ')}] in the float one: ` +
      'their rows cannot be paired. Turn "errorCorrection" off',
  );
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
    // Not all at once: there may be more than the stack holds.
    for (const used of usedBy(node)) pending.push(used);
  }
  // Functions of the model's own, sparse weights, and whatever else the schema does not know, stay.
  const part = shallowCopy(model);
  part.graph = Object.assign(shallowCopy(source), {
    node: source.node.filter((node) => nodes.has(node)),
    initializer: source.initializer.filter((tensor) => needed.has(tensor.name)),
    input: source.input.filter((input) => needed.has(input.name)),
    output: [valueInfo(target, DataType.FLOAT)],
    valueInfo: [],
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
