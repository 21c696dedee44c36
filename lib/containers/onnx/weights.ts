import { clone } from '@bufbuild/protobuf';
import { VertexqError } from '../../errors';
import { InputFile } from '../../files/input-file';
import type { NativeFloat } from '../../native/binding';
import { type Shared, sharedCopy } from '../../native/shared';
import { convert, numberBytes } from '../../native/tensors';
import { describe } from '../../options/messages';
import type { FloatArray } from '../../types';
import { floatTypes, rawLength, typeNameOf } from './element-types';
import { externalFile, externalPlace, placeWithin, sha1Of } from './external';
import { nativeType } from './float-tensor';
import { recipeOf } from './fold';
import { tensorsOf } from './nodes';
import {
  TensorProto_DataLocation as DataLocation,
  GraphProtoSchema,
  type GraphProto,
  type TensorProto,
} from './onnx_pb';
import { shallowCopy } from './shallow-copy';
import type { Place } from './skeleton';
import { countOf, isExternal, rawOfTyped, typedData } from './tensor';

/** Bytes of a file that hold a tensor's data. */
export interface Located extends Place {
  path: string;
}

/** Data that is yet to be put somewhere. */
export interface Fillable {
  length: number;
  into: (target: Uint8Array) => Promise<void>;
}

/**
 * The data of a model's tensors, wherever it is: in the message, in the model's file, or in another file beside it. What is in
 * files is read when it is asked for, and not kept.
 */
export class Weights {
  private readonly located = new WeakMap<TensorProto, Located>();
  private readonly made = new WeakMap<TensorProto, () => Promise<Uint8Array>>();
  /** What each file was when it was first opened. */
  private readonly identities = new Map<string, string>();
  /** SHA-1 of files that a checksum was given for. */
  private readonly hashes = new Map<string, string>();

  /** `file`: the model's, for which `external_data` is relative to its folder. `identity`: what it was when it was read. */
  constructor(
    readonly file: string,
    identity: string,
  ) {
    this.know(file, identity);
  }

  /** What a file was when it was first read: what has changed since is an error. */
  know(file: string, identity: string): void {
    this.identities.set(file, identity);
  }

  /** Has a tensor's data read from a file, where it is in full. */
  locate(tensor: TensorProto, place: Located): void {
    this.located.set(tensor, place);
  }

  /** Has a tensor's data, as `raw` gives it, made whenever it is asked for. */
  make(tensor: TensorProto, data: () => Promise<Uint8Array>): void {
    this.made.set(tensor, data);
  }

  /** Bytes of the data as stored; of data in another file as the dimensions say, 0 for types of unknown size. */
  byteLengthOf(tensor: TensorProto): number {
    const place = this.located.get(tensor);
    if (place) return place.length;
    if (isExternal(tensor) || recipeOf(tensor)) return rawLength(tensor.dataType, countOf(tensor)) ?? 0;
    return (
      tensor.rawData.length ||
      4 * (tensor.floatData.length + tensor.int32Data.length) +
        8 * (tensor.int64Data.length + tensor.uint64Data.length + tensor.doubleData.length)
    );
  }

  /** Where in a file the data is; null where it is in the message. Rejects as `raw`. */
  async placeOf(tensor: TensorProto): Promise<Located | null> {
    const known = this.located.get(tensor);
    if (known) return known;
    if (!isExternal(tensor)) return null;
    const place = externalPlace(tensor, this.file);
    const path = await externalFile(place, this.file, tensor.name);
    const found = await this.read(path, async (file) => {
      if (place.checksum !== null) await this.requireChecksum(file, place.checksum, tensor.name);
      return placeWithin(place, rawLength(tensor.dataType, countOf(tensor)), file.size, tensor.name);
    });
    const located = { path, ...found };
    this.locate(tensor, located);
    return located;
  }

  /**
   * The data as `raw_data` would hold it: little-endian. Rejects with ERR_VERTEXQ_ONNX where it does not fit the dimensions, is given
   * twice or nowhere, or lies where it must not; ERR_VERTEXQ_FILE where its file cannot be read or has changed.
   */
  async raw(tensor: TensorProto): Promise<Uint8Array> {
    const make = this.made.get(tensor);
    if (make) return make();
    const place = await this.checked(tensor);
    if (place) return this.read(place.path, (file) => file.read(place.position, place.length));
    return tensor.rawData.length > 0 ? tensor.rawData : rawOfTyped(tensor);
  }

  /** The data as `raw` gives it, to be put where there is room for it; null where it is in the message in another form. Rejects as `raw`. */
  async toFill(tensor: TensorProto): Promise<Fillable | null> {
    const place = this.made.has(tensor) ? null : await this.checked(tensor);
    if (place) {
      const { path, position, length } = place;
      return { length, into: (target) => this.read(path, (file) => file.fill(target, position)) };
    }
    const bytes = (await this.made.get(tensor)?.()) ?? tensor.rawData;
    if (bytes.length === 0) return null;
    return { length: bytes.length, into: (target) => Promise.resolve(target.set(bytes)) };
  }

  /** Rejects as `raw`, without reading the data. */
  async check(tensor: TensorProto): Promise<void> {
    for (const stored of recipeOf(tensor)?.sources ?? [tensor]) await this.checked(stored);
  }

  /** The values of a weight: float32, or float64 for DOUBLE. Rejects as `raw`; ERR_VERTEXQ_UNSUPPORTED at other types. */
  async floats(tensor: TensorProto, signal?: AbortSignal): Promise<FloatArray> {
    const { values, type } = await this.numbers(tensor, signal);
    return values instanceof Uint16Array ? (await convert(values, type, 'F32', signal)).data : values;
  }

  /**
   * The numbers of a weight as they are stored, those of 16 bits as these; in shared memory, for native jobs, which `room` gives for what
   * lies in a file. Rejects as `floats`.
   */
  async numbers(
    tensor: TensorProto,
    signal?: AbortSignal,
    room?: (bytes: number) => Shared,
  ): Promise<{ values: FloatArray | Uint16Array; type: NativeFloat }> {
    const recipe = recipeOf(tensor);
    if (recipe) {
      const values = await recipe.values(this, signal);
      return { values, type: values instanceof Float64Array ? 'F64' : 'F32' };
    }
    if (!floatTypes.has(tensor.dataType))
      throw new VertexqError(
        'ERR_VERTEXQ_UNSUPPORTED',
        `tensor "${tensor.name}": expected a floating-point type, not ${typeNameOf(tensor.dataType)}`,
      );
    const place = this.made.has(tensor) ? null : await this.checked(tensor);
    const bytes = place
      ? await this.read(place.path, (file) => file.readShared(place.position, place.length, room))
      : ((await sharedCopy(await this.raw(tensor), signal)) as Shared);
    const type = nativeType(tensor.dataType);
    const at = [bytes.buffer, bytes.byteOffset, bytes.length / numberBytes[type]] as const;
    if (type === 'F64') return { values: new Float64Array(...at), type };
    return { values: type === 'F32' ? new Float32Array(...at) : new Uint16Array(...at), type };
  }

  /**
   * Has a weight's numbers read piece by piece, where they lie in a file: `fill` fills an array from the number `first` on. undefined where they are
   * somewhere else. Rejects as `numbers`.
   */
  async pieces<Result>(
    tensor: TensorProto,
    use: (type: NativeFloat, fill: (target: Uint8Array, first: number) => Promise<void>) => Promise<Result>,
  ): Promise<Result | undefined> {
    if (this.made.has(tensor) || recipeOf(tensor) || !floatTypes.has(tensor.dataType)) return undefined;
    const place = await this.checked(tensor);
    if (!place) return undefined;
    const type = nativeType(tensor.dataType);
    return this.read(place.path, (file) =>
      use(type, (target, first) => file.fill(target, place.position + first * numberBytes[type])),
    );
  }

  /** The tensor with its data in it; itself where it is there already. */
  async inlined(tensor: TensorProto): Promise<TensorProto> {
    if (!isExternal(tensor) && !this.located.has(tensor) && !this.made.has(tensor)) return tensor;
    const rawData = await this.raw(tensor);
    return Object.assign(shallowCopy(tensor), {
      rawData,
      externalData: [],
      dataLocation: DataLocation.DEFAULT,
    });
  }

  /** A graph with the data of all its tensors, and its subgraphs', in it. Shares what it can with `graph`. */
  async inlinedGraph(graph: GraphProto): Promise<GraphProto> {
    const copy = shallowCopy(graph);
    copy.initializer = [];
    for (const tensor of graph.initializer) copy.initializer.push(await this.inlined(tensor));
    const nodes = Object.assign(shallowCopy(graph), { initializer: [] });
    if (![...tensorsOf(nodes)].some((tensor) => isExternal(tensor))) return copy;
    // Rare: weights of `Constant` nodes or of subgraphs in other files.
    const own = clone(GraphProtoSchema, nodes);
    for (const tensor of tensorsOf(own))
      if (isExternal(tensor)) Object.assign(tensor, await this.inlined(tensor));
    copy.node = own.node;
    return copy;
  }

  private async requireChecksum(file: InputFile, wanted: string, tensor: string): Promise<void> {
    const found = this.hashes.get(file.path) ?? (await sha1Of(file));
    this.hashes.set(file.path, found);
    if (found !== wanted.toLowerCase())
      throw new VertexqError(
        'ERR_VERTEXQ_ONNX',
        `tensor "${tensor}": the checksum of ${file.path} is ${found}, and the model says ${describe(wanted)}`,
      );
  }

  private async checked(tensor: TensorProto): Promise<Located | null> {
    const bad = (what: string) => new VertexqError('ERR_VERTEXQ_ONNX', `tensor "${tensor.name}": ${what}`);
    const place = await this.placeOf(tensor);
    const wanted = rawLength(tensor.dataType, countOf(tensor));
    const typed = typedData(tensor);
    if (isExternal(tensor) && (tensor.rawData.length > 0 || typed.length > 0))
      throw bad(`its data is in another file, and it has ${typed[0] ?? 'raw_data'} too`);
    if ((place ?? tensor.rawData.length > 0) && typed.length > 0)
      throw bad(`it has both raw_data and ${typed[0]}`);
    const length = place?.length ?? tensor.rawData.length;
    if (place || length > 0) {
      if (wanted !== undefined && length !== wanted)
        throw bad(`its dimensions want ${wanted} bytes, and it has ${length}`);
    } else {
      rawOfTyped(tensor);
    }
    return place;
  }

  /** Opens a file that holds data. Rejects with ERR_VERTEXQ_FILE where it cannot be read or has changed. */
  read<Result>(path: string, use: (file: InputFile) => Promise<Result>): Promise<Result> {
    return InputFile.with(
      path,
      async (file) => {
        const before = this.identities.get(path);
        if (before !== undefined && before !== file.identity)
          throw new VertexqError('ERR_VERTEXQ_FILE', `${path} has changed since it was opened first`);
        this.identities.set(path, file.identity);
        return use(file);
      },
      { followLinks: path === this.file },
    );
  }
}
