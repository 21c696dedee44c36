import { create, toBinary } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { allocate, type InputFile } from '../../files/input-file';
import type { OutputFile } from '../../files/output-file';
import { maxMessageBytes } from './codec';
import { tensorsOf } from './graph';
import {
  GraphProtoSchema,
  ModelProtoSchema,
  StringStringEntryProtoSchema,
  TensorProto_DataLocation as DataLocation,
  TensorProtoSchema,
  type GraphProto,
  type ModelProto,
  type TensorProto,
} from './onnx_pb';
import { shallowCopy } from './shallow-copy';
import { header } from './skeleton';
import { isExternal, typedData } from './tensor';
import type { Fillable, Located, Weights } from './weights';

// Models are written without all of their weights in memory: each is read when its turn comes.

// Field numbers of the ONNX schema.
const graphOfModel = 7;
const initializerOfGraph = 5;
const rawDataOfTensor = 9;

/** Shorter data stays in the message: runtimes need shapes and the like there. */
const shortestExternal = 1024;
/** So that a runtime may map a tensor into memory. */
const alignment = 4096;
/** A browser holds no file of more than 2 GiB. */
const longestDataFile = 2_000_000_000;
const copiedAtOnce = 2 ** 26;
/** There may be a million small tensors. */
const leastWritten = 2 ** 20;

const dataName = (name: string, index: number) => `${name}_data${index === 0 ? '' : `_${index}`}`;

/** The files that so many bytes of weights of a model `name` would go to. */
export const dataNames = (name: string, bytes: number): string[] =>
  Array.from({ length: Math.max(1, Math.ceil(bytes / longestDataFile)) }, (_, i) => dataName(name, i));

/** What was written: the model's file and those of its data, by name. */
export interface Serialized {
  files: { name: string; bytes: number }[];
}

export interface SerializeOptions {
  /** Whether weights go to files of their own; undefined: where one file cannot hold them. */
  externalData: boolean | undefined;
  /** Bytes that a file of data has at most, unless one tensor has more; default 2 · 10⁹. */
  longestDataFile?: number;
  /** Makes a file; the names of data files are those that the model has. */
  create: (name: string) => Promise<OutputFile>;
  signal: AbortSignal | undefined;
}

/**
 * Writes a model to the file `name`, and its weights to `<name>_data`, `<name>_data_1` and so on, as transformers.js looks for them,
 * where they are to be or one file cannot hold them. The data of other files that the model names is written with it. The model is
 * only read.
 */
export async function serializeModel(
  model: ModelProto,
  weights: Weights,
  name: string,
  options: SerializeOptions,
): Promise<Serialized> {
  const plan = options.externalData ? null : await partsInOne(model, weights);
  if (plan && plan.length <= maxMessageBytes) {
    const file = await options.create(name);
    await writeInOne(plan, file, weights, options.signal);
    return { files: [{ name, bytes: plan.length }] };
  }
  if (options.externalData === false)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the model would take more than the 2 GiB that one ONNX file holds: turn "externalData" on`,
    );
  return new ExternalWriter(weights, name, options).write(model);
}

/**
 * A model's bytes with the data of all tensors in them, each copied or read straight to its place: protobuf's own way copies data for every message
 * around it. `requireFit` is told their number before there is memory for them.
 */
export async function modelInMemory(
  model: ModelProto,
  weights: Weights,
  requireFit: (length: number) => void,
): Promise<Uint8Array<ArrayBuffer>> {
  const tensors: { before: Uint8Array; data: Fillable | null }[] = [];
  let data = 0;
  for (const tensor of model.graph!.initializer) {
    const own = await weights.toFill(tensor);
    tensors.push({ before: frameOf(tensor, own?.length ?? null), data: own });
    data += own?.length ?? 0;
  }
  const head = await headOf(
    model,
    weights,
    tensors.reduce((sum, { before }) => sum + before.length, data),
  );
  const length = [...head, ...tensors.map(({ before }) => before)].reduce(
    (sum, part) => sum + part.length,
    data,
  );
  requireFit(length);
  const bytes = allocate(length, 'a part of the network');
  let at = 0;
  const put = (part: Uint8Array) => {
    bytes.set(part, at);
    at += part.length;
  };
  for (const part of head) put(part);
  for (const { before, data: own } of tensors) {
    put(before);
    if (own) await own.into(bytes.subarray(at, (at += own.length)));
  }
  return bytes;
}

/** What comes before a model's initializers, which take so many bytes. */
async function headOf(model: ModelProto, weights: Weights, initializers: number): Promise<Uint8Array[]> {
  const rest = toBinary(GraphProtoSchema, await weights.inlinedGraph(withoutInitializers(model).graph!));
  const envelope = shallowCopy(model);
  delete (envelope as Partial<ModelProto>).graph;
  return [toBinary(ModelProtoSchema, envelope), header(graphOfModel, rest.length + initializers), rest];
}

function withoutInitializers(model: ModelProto): ModelProto {
  const copy = shallowCopy(model);
  copy.graph = shallowCopy(model.graph!);
  copy.graph.initializer = [];
  return copy;
}

/** A model in one file: what comes before its initializers, and these. */
interface PartsInOne {
  head: Uint8Array[];
  tensors: Framed[];
  /** Of the file. */
  length: number;
}

/** null where it is clear, without much memory, that one file cannot hold it. */
async function partsInOne(model: ModelProto, weights: Weights): Promise<PartsInOne | null> {
  let data = 0;
  for (const tensor of tensorsOf(model.graph!)) data += (await weights.placeOf(tensor))?.length ?? 0;
  if (data > maxMessageBytes) return null;
  const tensors: Framed[] = [];
  for (const tensor of model.graph!.initializer) {
    const place = await weights.placeOf(tensor);
    tensors.push({ before: frameOf(tensor, place?.length ?? null), place });
  }
  const initializers = tensors.reduce(
    (sum, { before, place }) => sum + before.length + (place?.length ?? 0),
    0,
  );
  const head = await headOf(model, weights, initializers);
  return { head, tensors, length: head.reduce((sum, part) => sum + part.length, initializers) };
}

async function writeInOne(
  { head, tensors }: PartsInOne,
  file: OutputFile,
  weights: Weights,
  signal: AbortSignal | undefined,
): Promise<void> {
  let pending: Uint8Array[] = [];
  let length = 0;
  const flush = async () => {
    signal?.throwIfAborted();
    const bytes = pending.length === 1 ? pending[0]! : Buffer.concat(pending);
    [pending, length] = [[], 0];
    await file.append(bytes);
  };
  const put = async (bytes: Uint8Array) => {
    pending.push(bytes);
    length += bytes.length;
    if (length >= leastWritten) await flush();
  };
  for (const bytes of head) await put(bytes);
  for (const { before, place } of tensors) {
    await put(before);
    if (place) await copyData(place, weights, put);
  }
  await flush();
}

interface Framed {
  before: Uint8Array;
  place: Located | null;
}

/** A tensor's field of the graph up to its data of `length` bytes; all of it where that is null, the data being in the message. */
function frameOf(tensor: TensorProto, length: number | null): Uint8Array {
  const own = toBinary(TensorProtoSchema, length === null ? tensor : withoutData(tensor));
  const data = length === null ? new Uint8Array(0) : header(rawDataOfTensor, length);
  return Buffer.concat([header(initializerOfGraph, own.length + data.length + (length ?? 0)), own, data]);
}

function withoutData(tensor: TensorProto): TensorProto {
  const copy = shallowCopy(tensor);
  delete (copy as Partial<TensorProto>).rawData;
  if (isExternal(tensor)) {
    delete (copy as Partial<TensorProto>).dataLocation;
    copy.externalData = [];
  }
  return copy;
}

/** Data that lies in a file, piece by piece. Whether it fits its tensor matters only to those who compute with it. */
async function copyData(
  place: Located,
  weights: Weights,
  put: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  await weights.read(place.path, async (file: InputFile) => {
    for (let at = 0; at < place.length; at += copiedAtOnce)
      await put(await file.read(place.position + at, Math.min(copiedAtOnce, place.length - at)));
  });
}

/** Writes weights to files of their own. */
class ExternalWriter {
  private readonly files: { name: string; bytes: number }[] = [];
  private file: OutputFile | undefined;

  constructor(
    private readonly weights: Weights,
    private readonly name: string,
    private readonly options: SerializeOptions,
  ) {}

  async write(model: ModelProto): Promise<Serialized> {
    const copy = shallowCopy(model);
    // Tensors of nodes and subgraphs are small, as a rule: they stay in the message.
    const graph: GraphProto = await this.weights.inlinedGraph(withoutInitializers(model).graph!);
    graph.initializer = [];
    for (const tensor of model.graph!.initializer) graph.initializer.push(await this.moved(tensor));
    copy.graph = graph;
    const bytes = toBinary(ModelProtoSchema, copy);
    if (bytes.length > maxMessageBytes)
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `the model without its weights would take ${bytes.length} bytes; one ONNX file holds 2 GiB`,
      );
    const file = await this.options.create(this.name);
    await file.append(bytes);
    // The model last: it says that the rest is there.
    return { files: [...this.files, { name: this.name, bytes: bytes.length }] };
  }

  private async moved(tensor: TensorProto): Promise<TensorProto> {
    const length = this.weights.byteLengthOf(tensor);
    if (length < shortestExternal || typedData(tensor).length > 0) return this.weights.inlined(tensor);
    const current = await this.fileFor(length);
    const padding = (alignment - (current.bytes % alignment)) % alignment;
    const offset = current.bytes + padding;
    const put = async (bytes: Uint8Array) => {
      this.options.signal?.throwIfAborted();
      await this.file!.append(bytes);
      current.bytes += bytes.length;
    };
    await put(new Uint8Array(padding));
    const place = await this.weights.placeOf(tensor);
    if (place) await copyData(place, this.weights, put);
    else await put(tensor.rawData);
    const copy = withoutData(tensor);
    copy.dataLocation = DataLocation.EXTERNAL;
    copy.externalData = Object.entries({
      location: current.name,
      offset,
      length: current.bytes - offset,
    }).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value: String(value) }));
    return copy;
  }

  /** The file that the next `length` bytes go to. */
  private async fileFor(length: number) {
    const current = this.files.at(-1);
    const most = this.options.longestDataFile ?? longestDataFile;
    if (current && current.bytes + alignment + length <= most) return current;
    const name = dataName(this.name, this.files.length);
    const next = { name, bytes: 0 };
    this.file = await this.options.create(name);
    this.files.push(next);
    return next;
  }
}
