import { namingMemory } from '../../errors';
import { type Checkpoint, entryOf } from '../../containers/safetensors/checkpoint';
import type { FloatDtype } from '../../containers/safetensors/dtypes';
import { binding, type NativePacking, type NativeUnpacked, type Norms } from '../../native/binding';
import { finish, threadsFor } from '../../native/jobs';
import { Buffers } from '../../native/buffers';
import { type Shared, sharedBytes } from '../../native/shared';
import { describe } from '../../options/messages';
import type { JobOptions } from '../../types';
import type { InspectedWeight } from '../../types';
import type { Part, WeightLayout } from './layout';

/** Where the numbers of a weight in few bits lie, and how. */
export interface PackedWeight {
  /** [outFeatures, inFeatures]. */
  shape: readonly [number, number];
  bits: number;
  groupSize: number;
  packing: NativePacking;
  /** The names of all tensors that belong to it. */
  tensors: readonly string[];
  codes: string;
  scales: string | null;
  /** null where all are 0. */
  zeroPoints: string | null;
  /** null where the groups of inputs lie one after the other. */
  groupOf: string | null;
}

/** A weight that is quantized already: what is told of it, and how it is read back. */
export interface FoundWeight {
  inspected: InspectedWeight;
  packed: PackedWeight;
}

/**
 * A module's weight that lies as its encoding's layout says; undefined where a part is missing, or of another type or shape. `groupsName`:
 * of a tensor that may tell the group of each input.
 */
export function foundIn(
  checkpoint: Checkpoint,
  name: string,
  layout: WeightLayout,
  { shape, bits, groupSize, symmetric }: Omit<InspectedWeight, 'name' | 'bytes'>,
  groupsName: string,
): FoundWeight | undefined {
  const { packing, codes, scales, zeroPoints, constants } = layout;
  const isThere = ({ suffix, dtype, shape: dims }: Part) => {
    const entry = entryOf(checkpoint, name + suffix);
    return entry?.dtype === dtype && entry.shape.join() === dims.join();
  };
  const parts = [codes, scales, zeroPoints].filter((one) => one !== null);
  const indices = entryOf(checkpoint, groupsName);
  if (
    !parts.every(isThere) ||
    (indices && (indices.dtype !== 'I32' || indices.shape.join() !== String(shape[1])))
  )
    return undefined;
  const names = new Set([...parts, ...constants.map(({ part }) => part)].map(({ suffix }) => name + suffix));
  if (indices) names.add(groupsName);
  const bytes = [...names].reduce((sum, own) => sum + (entryOf(checkpoint, own)?.byteLength ?? 0), 0);
  const nameOf = (part: Part | null) => part && name + part.suffix;
  return {
    inspected: { name, shape, bits, groupSize, symmetric, bytes },
    packed: {
      ...{ shape, bits, groupSize, packing, tensors: [...names], codes: name + codes.suffix },
      ...{ scales: nameOf(scales), zeroPoints: nameOf(zeroPoints), groupOf: indices ? groupsName : null },
    },
  };
}

/** A matrix of floats in its own tensor, to be read as the others are. */
export const plainWeight = (
  name: string,
  dtype: FloatDtype,
  shape: readonly [number, number],
): PackedWeight => ({
  ...{ shape, bits: 8, groupSize: shape[1], packing: { order: 'values', outType: dtype, zeroShift: 0 } },
  ...{ tensors: [name], codes: name, scales: null, zeroPoints: null, groupOf: null },
});

/** What may be wanted of some rows. */
export type Unpacked = Pick<
  NativeUnpacked,
  'codesTo' | 'scalesTo' | 'zeroPointsTo' | 'valuesTo' | 'reference' | 'type'
>;

/** Rows of a packed weight begin at multiples of this. */
const rowBlock = 32;

/** Reads weights in few bits back, by ranges of rows. */
export class Unpacker {
  private parts: Promise<Pick<NativeUnpacked, 'codes' | 'scales' | 'zeroPoints'>> | undefined;
  private groups: Promise<Int32Array | null> | undefined;

  constructor(
    private readonly checkpoint: Checkpoint,
    readonly weight: PackedWeight,
    /** Where the memory of what is read comes from, and goes again. */
    private readonly buffers = new Buffers(),
  ) {}

  /** Rows read at a time where so many bytes of values are. */
  rowsIn(bytes: number): number {
    return Math.max(1, Math.floor(bytes / (4 * this.weight.shape[1] * rowBlock))) * rowBlock;
  }

  /**
   * Unpacks the rows [begin, end), `begin` a multiple of 32, to where they are wanted. Sums of squares: of what differs from the reference,
   * and of that; without one of the values. Rejects with ERR_VERTEXQ_NOT_FINITE where a value is not; RangeError where an input is in no
   * group; with what reading brings.
   */
  async rows(begin: number, end: number, wanted: Unpacked, options: JobOptions): Promise<Norms> {
    const { codes } = this.weight;
    const where = `${this.shardOf(codes).path}: tensor ${describe(codes)}`;
    return namingMemory(where, () => this.unpack(begin, end, wanted, options));
  }

  private async unpack(begin: number, end: number, wanted: Unpacked, options: JobOptions): Promise<Norms> {
    const { shape, bits, groupSize, packing, scales } = this.weight;
    const byRows = packing.order !== 'input-major';
    const parts = await (byRows ? this.read(begin, end) : (this.parts ??= this.read()));
    const groupOf = await (this.groups ??= this.readGroups());
    const groups =
      scales !== null && groupOf ? this.shardOf(scales).tensor(scales).shape[byRows ? 1 : 0]! : 1;
    const sums = await finish(
      () =>
        binding().unpackRows({
          ...{ ...parts, ...packing, ...wanted, groupOf, groups, bits },
          ...{ rows: end - begin, cols: shape[1], groupSize: Math.min(groupSize, shape[1]) },
          ...{ outFeatures: shape[0], firstRow: begin, threads: threadsFor(options) },
        }),
      options.signal,
    );
    // Only here: of a job that was aborted, a thread may still be reading them.
    if (byRows) for (const part of Object.values(parts)) if (part) this.buffers.give(part as Shared);
    return sums;
  }

  /** All of the parts, or what rows of them some neurons take. */
  private async read(begin?: number, end?: number) {
    const { codes, scales, zeroPoints, bits } = this.weight;
    const part = (name: string | null, from = begin, to = end) =>
      name === null ? null : this.bytes(name, from, to);
    // Packed down the neurons.
    const line = (row: number | undefined) => row && Math.ceil((row * bits) / 32);
    return {
      codes: (await part(codes))!,
      scales: await part(scales),
      zeroPoints: await part(zeroPoints, line(begin), line(end)),
    };
  }

  private async readGroups(): Promise<Int32Array | null> {
    const { groupOf, groupSize } = this.weight;
    if (groupOf === null) return null;
    const { buffer } = await this.bytes(groupOf);
    const groups = new Int32Array(buffer);
    return groups.every((group, i) => group === Math.floor(i / groupSize)) ? null : groups;
  }

  private bytes(name: string, begin?: number, end?: number): Promise<Shared> {
    // All of a part is kept as long as this is.
    const room = (length: number) => (begin === undefined ? sharedBytes(length) : this.buffers.take(length));
    return this.shardOf(name).readShared(name, begin, end, room);
  }

  private shardOf(name: string) {
    return this.checkpoint.shards.get(this.checkpoint.places.get(name)!)!;
  }
}
