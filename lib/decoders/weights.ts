import { create } from '@bufbuild/protobuf';
import { VertexqError } from '../errors';
import {
  TensorProto_DataType as DataType,
  TensorProtoSchema,
  type TensorProto,
} from '../containers/onnx/onnx_pb';
import { describe } from '../options/messages';
import { fewOf } from '../reports/text';
import type { Operations } from './operations';
import { noForward } from './shape';

/** A tensor of a checkpoint, and the bytes of the file that it lies in. */
export interface StoredTensor {
  dtype: string;
  shape: readonly number[];
  path: string;
  position: number;
  byteLength: number;
  /** Made of codes when it is needed: [outFeatures, inFeatures], however the architecture stores it. */
  isUnpacked?: boolean;
}

/** What a checkpoint holds, by name: of experts in one tensor each matrix. */
export type StoredTensors = ReadonlyMap<string, StoredTensor>;

/** Where an initializer's bytes lie. */
export interface Origin {
  /** The checkpoint's tensor, or the matrix in one of several experts. */
  tensor: string;
  path: string;
  position: number;
  length: number;
}

const types = new Map([
  ['F32', { type: DataType.FLOAT, bytes: 4 }],
  ['F16', { type: DataType.FLOAT16, bytes: 2 }],
  ['BF16', { type: DataType.BFLOAT16, bytes: 2 }],
]);
const named = (shape: readonly number[]) => `[${shape.join(', ')}]`;

/** Makes a checkpoint's tensors the initializers of a graph, where they lie: none is read. */
export class DecoderWeights {
  readonly initializers = new Map<string, TensorProto>();
  /** By the initializers. */
  readonly origins = new Map<TensorProto, Origin>();
  private readonly floats = new Map<string, string>();
  private readonly used = new Set<string>();

  /** `file` names the checkpoint in messages. */
  constructor(
    private readonly stored: StoredTensors,
    private readonly operations: Operations,
    private readonly file: string,
    private readonly architecture: string,
    /** Begins names, but perhaps not in this checkpoint. */
    private readonly optionalPrefix = '',
  ) {}

  has(name: string): boolean {
    return this.stored.has(this.storedName(name));
  }

  /** A weight as a product takes it, [inFeatures, outFeatures]; `transposed`: it is stored like that, not [outFeatures, inFeatures]. */
  matrix(name: string, outFeatures: number, inFeatures: number, transposed = false): string {
    const lies = transposed && !this.stored.get(this.storedName(name))?.isUnpacked;
    const value = this.float(
      this.initializer(name, lies ? [inFeatures, outFeatures] : [outFeatures, inFeatures]),
    );
    return lies ? value : this.operations.transpose(`${name}/transposed`, value, [1, 0]);
  }

  vector(name: string, size: number): string {
    return this.float(this.initializer(name, [size]));
  }

  /** A table whose entries are looked up, as stored: not all of it need become floats. */
  table(name: string, entries: number, size: number): string {
    return this.initializer(name, [entries, size]).name;
  }

  /** Takes tensors for known that nothing computes with. */
  ignore(isKnown: (name: string) => boolean): void {
    for (const name of this.stored.keys())
      if (isKnown(name) || isKnown(this.optionalPrefix + name)) this.used.add(name);
  }

  /** Throws where the checkpoint holds tensors that the network has no place for. */
  requireNoOthers(): void {
    const others = [...this.stored.keys()].filter((name) => !this.used.has(name));
    if (others.length === 0) return;
    throw this.wrong(
      `${others.length === 1 ? 'the tensor' : `${others.length} tensors`} ${fewOf(others.map(describe), 4)} ${others.length === 1 ? 'has' : 'have'} no place in`,
    );
  }

  /** A float32 value of what is stored. */
  private float({ name, dataType }: TensorProto): string {
    if (dataType === DataType.FLOAT) return name;
    let value = this.floats.get(name);
    if (value === undefined) {
      value = this.operations.add('Cast', `${name}/float`, [name], { to: BigInt(DataType.FLOAT) });
      this.floats.set(name, value);
    }
    return value;
  }

  private initializer(name: string, shape: readonly number[]): TensorProto {
    const known = this.initializers.get(name);
    if (known) return known;
    const stored = this.stored.get(this.storedName(name));
    if (!stored) throw this.wrong(`there is no tensor ${describe(name)}, ${named(shape)}, of`);
    this.used.add(this.storedName(name));
    if (stored.shape.length !== shape.length || shape.some((size, i) => size !== stored.shape[i]))
      throw this.wrong(
        `the tensor ${describe(name)} is ${named(stored.shape)}, and should be ${named(shape)} in`,
      );
    const found = types.get(stored.dtype);
    if (!found)
      throw this.wrong(
        `the tensor ${describe(name)} is ${stored.dtype}, and should be one of ${[...types.keys()].join(', ')} in`,
      );
    const length = found.bytes * shape.reduce((product, size) => product * size, 1);
    const made = create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType: found.type });
    this.initializers.set(name, made);
    const { path, position } = stored;
    this.origins.set(made, { tensor: this.storedName(name), path, position, length });
    return made;
  }

  /** What the checkpoint calls a tensor. */
  private storedName(name: string): string {
    if (this.stored.has(name) || !name.startsWith(this.optionalPrefix)) return name;
    return name.slice(this.optionalPrefix.length);
  }

  private wrong(what: string): VertexqError {
    return new VertexqError(
      'ERR_VERTEXQ_DECODER',
      `${this.file}: ${what} a ${this.architecture} of this config${noForward}`,
    );
  }
}
