import { create, toBinary } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import type { InputFile } from '../../formats/input-file';
import type { SpoolFile } from '../workspace';
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
import type { Weights } from './weights';

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

/** What was written: the model's file and those of its data, by name. */
export interface Serialized {
  files: { name: string; bytes: number }[];
}

export interface SerializeOptions {
  /** Whether weights go to files of their own; undefined: where one file cannot hold them. */
  externalData: boolean | undefined;
  /** Makes a file; the names of data files are those that the model has. */
  create: (name: string) => Promise<SpoolFile>;
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
  const inOne = await sizeInOneFile(model, weights);
  if (options.externalData ?? inOne > maxMessageBytes)
    return new ExternalWriter(weights, name, options).write(model);
  if (inOne > maxMessageBytes)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the model would take ${inOne} bytes, and one ONNX file holds 2 GiB: turn "externalData" on`,
    );
  const file = await options.create(name);
  const bytes = await writeInOne(file, model, weights, options.signal);
  return { files: [{ name, bytes }] };
}

/** About: an upper bound but for a few bytes a tensor. */
async function sizeInOneFile(model: ModelProto, weights: Weights): Promise<number> {
  let size = 0;
  for (const tensor of tensorsOf(model.graph!)) {
    size += weights.byteLengthOf(tensor) + 64;
    if (isExternal(tensor)) await weights.check(tensor);
  }
  return size + toBinary(ModelProtoSchema, withoutInitializers(model)).length;
}

function withoutInitializers(model: ModelProto): ModelProto {
  const copy = shallowCopy(model);
  copy.graph = shallowCopy(model.graph!);
  copy.graph.initializer = [];
  return copy;
}

/** Returns the file's length. */
async function writeInOne(
  file: SpoolFile,
  model: ModelProto,
  weights: Weights,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { initializer } = model.graph!;
  const rest = await weights.inlinedGraph(withoutInitializers(model).graph!);
  const graphBytes = toBinary(GraphProtoSchema, rest);
  const envelope = shallowCopy(model);
  delete (envelope as Partial<ModelProto>).graph;
  const tensors = [];
  for (const tensor of initializer) tensors.push(await framed(tensor, weights));
  const graphLength = tensors.reduce(
    (sum, { before, dataLength }) => sum + before.length + dataLength,
    graphBytes.length,
  );
  let written = 0;
  const put = async (bytes: Uint8Array) => {
    signal?.throwIfAborted();
    await file.append(bytes);
    written += bytes.length;
  };
  await put(toBinary(ModelProtoSchema, envelope));
  await put(header(graphOfModel, graphLength));
  await put(graphBytes);
  for (const { tensor, before, dataLength } of tensors) {
    await put(before);
    if (dataLength > 0) await copyData(tensor, weights, put);
  }
  return written;
}

/** A tensor's field of the graph up to its data, which comes from a file; all of it where the data is in the message. */
async function framed(tensor: TensorProto, weights: Weights) {
  const place = await weights.placeOf(tensor);
  const own = toBinary(TensorProtoSchema, place ? withoutPlace(tensor) : tensor);
  const dataLength = place ? place.length : 0;
  const data = place ? header(rawDataOfTensor, dataLength) : new Uint8Array(0);
  const length = own.length + data.length + dataLength;
  return {
    tensor,
    before: Buffer.concat([header(initializerOfGraph, length), own, data]),
    dataLength,
  };
}

function withoutPlace(tensor: TensorProto): TensorProto {
  const copy = shallowCopy(tensor);
  delete (copy as Partial<TensorProto>).rawData;
  delete (copy as Partial<TensorProto>).dataLocation;
  copy.externalData = [];
  return copy;
}

/** The data of a tensor that lies in a file, piece by piece. */
async function copyData(
  tensor: TensorProto,
  weights: Weights,
  put: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const place = (await weights.placeOf(tensor))!;
  if (place.length <= copiedAtOnce) return put(await weights.raw(tensor));
  await weights.read(place.path, async (file: InputFile) => {
    for (let at = 0; at < place.length; at += copiedAtOnce)
      await put(await file.read(place.position + at, Math.min(copiedAtOnce, place.length - at)));
  });
}

/** Writes weights to files of their own. */
class ExternalWriter {
  private readonly files: { name: string; bytes: number }[] = [];
  private file: SpoolFile | undefined;

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
    if (await this.weights.placeOf(tensor)) await copyData(tensor, this.weights, put);
    else await put(await this.weights.raw(tensor));
    const copy = withoutPlace(tensor);
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
    if (current && (current.bytes === 0 || current.bytes + alignment + length <= longestDataFile))
      return current;
    const name = `${this.name}_data${this.files.length === 0 ? '' : `_${this.files.length}`}`;
    const next = { name, bytes: 0 };
    this.file = await this.options.create(name);
    this.files.push(next);
    return next;
  }
}
