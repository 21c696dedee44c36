import { create, toBinary } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { allocate, type InputFile } from '../../files/input-file';
import type { OutputFile } from '../../files/output-file';
import { LayoutBuilder, writeKnown } from '../laid-out';
import { maxMessageBytes } from './codec';
import { alignment, DataPlaces, liesBeside, longestDataFile } from './data-places';
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
import { isExternal } from './tensor';
import type { Located, Weights } from './weights';

// All places of a file are known before any data is written: weights are read when their turn comes, piece by piece.

// Field numbers of the ONNX schema.
const graphOfModel = 7;
const initializerOfGraph = 5;
const rawDataOfTensor = 9;

/** Bytes of a piece that is copied: it stays in a core's cache. */
const copiedAtOnce = 2 ** 20;
const dataName = (name: string, index: number) => `${name}_data${index === 0 ? '' : `_${index}`}`;

/** The files that so many bytes of weights of a model `name` would go to. */
export const dataNames = (name: string, bytes: number): string[] =>
  Array.from({ length: Math.max(1, Math.ceil(bytes / longestDataFile)) }, (_, i) => dataName(name, i));

/** A data file that has some of its tensors. */
export interface BegunFile {
  path: string;
  /** Up to its last tensor's end. */
  size: number;
  /** Has it called so. */
  goOn: (name: string) => Promise<OutputFile>;
}

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
  /** Data files that are begun, by their index: they are gone on with where all that is in them lies as it will. */
  begun?: ReadonlyMap<number, BegunFile>;
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
  const whole = options.externalData ? null : await inOne(model, weights);
  if (options.externalData === false && !whole)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the model would take more than the 2 GiB that one ONNX file holds: turn "externalData" on`,
    );
  // The model last: it says that the rest is there.
  const planned = whole ? [{ name, ...whole }] : await apart(model, weights, name, options.longestDataFile);
  const piece = new Uint8Array(copiedAtOnce);
  const begun = whole ? new Map<number, BegunFile>() : usable(planned, options.begun ?? new Map());
  for (const [i, { name: own, parts, copied }] of planned.entries()) {
    const there = begun.get(i);
    const file = await (there?.goOn(own) ?? options.create(own));
    await writeKnown(file, parts, options.signal);
    for (const { position, from } of copied.filter((one) => one.from.path !== there?.path))
      await weights.read(from.path, async (input: InputFile) => {
        for (let at = 0; at < from.length; at += piece.length) {
          const bytes = piece.subarray(0, Math.min(piece.length, from.length - at));
          await input.fill(bytes, from.position + at);
          await file.write(bytes, position + at, options.signal);
        }
      });
  }
  return { files: planned.map(({ name: own, parts }) => ({ name: own, bytes: parts.size })) };
}

/** Data files that are begun, if each tensor in them, and nothing else, lies in its place; else none. */
function usable(
  planned: readonly PlannedFile[],
  begun: ReadonlyMap<number, BegunFile>,
): ReadonlyMap<number, BegunFile> {
  const indices = new Map([...begun].map(([index, { path }]) => [path, index]));
  const areInPlace = planned.every(({ copied }, i) =>
    copied.every(({ position, from }) => {
      const index = indices.get(from.path);
      return index === undefined || (index === i && from.position === position);
    }),
  );
  const areWanted = [...begun].every(([index, { path, size }]) => {
    const file = planned[index];
    return (
      file !== undefined && size <= file.parts.size && file.copied.some(({ from }) => from.path === path)
    );
  });
  return areInPlace && areWanted ? begun : new Map<number, BegunFile>();
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
  const { parts, data } = await messageOf(model, weights, (tensor) => weights.toFill(tensor));
  requireFit(parts.size);
  const target = allocate(parts.size, 'a part of the network');
  for (const { position, bytes } of parts.known) target.set(bytes, position);
  for (const { position, of } of data) await of.into(target.subarray(position, position + of.length));
  return target;
}

/** A model's message: of tensors whose data does not lie in it, and which `dataOf` gives, where that goes. */
async function messageOf<Data extends { length: number }>(
  model: ModelProto,
  weights: Weights,
  dataOf: (tensor: TensorProto) => Promise<Data | null>,
): Promise<{ parts: LayoutBuilder; data: { position: number; of: Data }[] }> {
  const tensors: { before: Uint8Array; of: Data | null }[] = [];
  let initializers = 0;
  for (const tensor of model.graph!.initializer) {
    const of = await dataOf(tensor);
    const before = frameOf(tensor, of?.length ?? null);
    tensors.push({ before, of });
    initializers += before.length + (of?.length ?? 0);
  }
  const parts = new LayoutBuilder();
  const data: { position: number; of: Data }[] = [];
  for (const part of await headOf(model, weights, initializers)) parts.add(part);
  for (const { before, of } of tensors) {
    parts.add(before);
    if (of) data.push({ position: parts.place(of.length), of });
  }
  return { parts, data };
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

/** A file on its way: what of its bytes is at hand, and what is copied from other files. */
interface PlannedFile {
  parts: LayoutBuilder;
  copied: { position: number; from: Located }[];
}

/** A model with its weights in it; null where one file cannot hold it, which is mostly clear without much memory. */
async function inOne(model: ModelProto, weights: Weights): Promise<PlannedFile | null> {
  let bytes = 0;
  for (const tensor of tensorsOf(model.graph!)) bytes += (await weights.placeOf(tensor))?.length ?? 0;
  if (bytes > maxMessageBytes) return null;
  const { parts, data } = await messageOf(model, weights, (tensor) => weights.placeOf(tensor));
  if (parts.size > maxMessageBytes) return null;
  return { parts, copied: data.map(({ position, of }) => ({ position, from: of })) };
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

/** Files of weights, and behind them that of the model without. */
async function apart(
  model: ModelProto,
  weights: Weights,
  name: string,
  most = longestDataFile,
): Promise<(PlannedFile & { name: string })[]> {
  const files: (PlannedFile & { name: string })[] = [];
  const places = new DataPlaces(most);
  /** Has a tensor's data in another file. */
  const moved = async (tensor: TensorProto): Promise<TensorProto> => {
    if (!liesBeside(tensor, weights)) return weights.inlined(tensor);
    // Whether it fits its tensor matters only to those who compute with it.
    const from = await weights.placeOf(tensor);
    const { index, position } = places.next(
      from?.length ?? tensor.rawData.length,
      weights.byteLengthOf(tensor),
    );
    const file = (files[index] ??= {
      name: dataName(name, index),
      parts: new LayoutBuilder(),
      copied: [],
    });
    const { parts, copied } = file;
    parts.align(alignment);
    if (from) copied.push({ position: parts.place(from.length), from });
    else parts.add(tensor.rawData);
    const copy = withoutData(tensor);
    copy.dataLocation = DataLocation.EXTERNAL;
    const place = { location: file.name, offset: position, length: parts.size - position };
    copy.externalData = Object.entries(place).map(([key, value]) =>
      create(StringStringEntryProtoSchema, { key, value: String(value) }),
    );
    return copy;
  };
  const copy = shallowCopy(model);
  // Tensors of nodes and subgraphs are small, as a rule: they stay in the message.
  const graph: GraphProto = await weights.inlinedGraph(withoutInitializers(model).graph!);
  graph.initializer = [];
  for (const tensor of model.graph!.initializer) graph.initializer.push(await moved(tensor));
  copy.graph = graph;
  const bytes = toBinary(ModelProtoSchema, copy);
  if (bytes.length > maxMessageBytes)
    throw new VertexqError(
      'ERR_VERTEXQ_ONNX',
      `the model without its weights would take ${bytes.length} bytes; one ONNX file holds 2 GiB`,
    );
  const parts = new LayoutBuilder();
  parts.add(bytes);
  return [...files, { name, parts, copied: [] }];
}
