import { type Checkpoint, entryOf } from '../containers/safetensors/checkpoint';
import { isFloat } from '../containers/safetensors/dtypes';
import type { OpenDecoder } from '../decoders/open';
import type { PackedWeight } from '../encodings/safetensors/unpack';
import { embeddingOf, headOf } from '../decoders/decoder';
import type { NativeFloat } from '../native/binding';
import { convert } from '../native/tensors';
import type { Tunable } from './scaled-parts';

/** The scales of a weight as its file holds them. */
export interface StoredScales {
  tensor: string;
  type: NativeFloat;
  /** [outFeatures, groups]. */
  values: Float32Array;
  dims: readonly [outFeatures: number, groups: number];
  /** Whether the file has them as [groups, outFeatures]. */
  isTurned: boolean;
}

/** A quantized checkpoint's weights whose scales can be tuned, by their names in the graph, and why others cannot. */
export interface Found {
  scales: Map<string, StoredScales>;
  tunables: Map<string, Tunable>;
  left: { name: string; reason: string }[];
}

/** Finds them, and reads their scales. */
export async function storedScales(
  checkpoint: Checkpoint,
  packed: ReadonlyMap<string, PackedWeight>,
  { origins, shape }: OpenDecoder,
  signal: AbortSignal | undefined,
): Promise<Found> {
  const found: Found = { scales: new Map(), tunables: new Map(), left: [] };
  const tables = new Set([embeddingOf(shape), headOf(shape)]);
  for (const [{ name }, { tensor }] of origins) {
    const weight = packed.get(tensor);
    if (!weight) continue;
    const reason = tables.has(name)
      ? 'tokens are looked up in it, or logits made with it'
      : await unfit(checkpoint, weight);
    if (reason !== undefined) {
      found.left.push({ name: tensor, reason });
      continue;
    }
    const { dtype, shape: dims } = entryOf(checkpoint, weight.scales!)!;
    const type = dtype as NativeFloat;
    const isTurned = weight.packing.order === 'input-major';
    const [outFeatures] = weight.shape;
    const groups = (dims[0]! * dims[1]!) / outFeatures;
    const bytes = await fileOf(checkpoint, weight.scales!).read(weight.scales!);
    const numbers = (await convert(bytes, type, 'F32', signal)).data;
    const values = isTurned ? turned(numbers, groups, outFeatures) : numbers;
    found.scales.set(name, { tensor: weight.scales!, type, values, dims: [outFeatures, groups], isTurned });
    found.tunables.set(name, { weight: name, shape: weight.shape, groups });
  }
  return found;
}

/** Why the scales of a weight are not tuned. */
async function unfit(checkpoint: Checkpoint, weight: PackedWeight): Promise<string | undefined> {
  const { scales, shape, groupSize, groupOf } = weight;
  const entry = scales === null ? undefined : entryOf(checkpoint, scales);
  if (!entry || !isFloat(entry.dtype) || entry.shape.length !== 2) return 'it has no scales that are floats';
  const size = Math.min(groupSize, shape[1]);
  if (shape[1] % size !== 0) return 'its last group is shorter';
  if (groupOf === null) return undefined;
  const bytes = await fileOf(checkpoint, groupOf).read(groupOf);
  const places = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  return places.every((group, i) => group === Math.floor(i / size))
    ? undefined
    : 'its inputs are in groups out of their order (act-order)';
}

/** What the file will hold of scales times factors: its bytes, and the factors that come of it. A scale that would become 0 or infinite stays as it is. */
export async function rescaled(
  { values, type, dims, isTurned }: StoredScales,
  factors: Float32Array,
  signal: AbortSignal | undefined,
): Promise<{ bytes: Uint8Array; factors: Float32Array }> {
  const product = values.map((scale, i) => scale * factors[i]!);
  const stored = (await convert((await convert(product, 'F32', type, signal)).data, type, 'F32', signal))
    .data;
  const kept = values.map((scale, i) =>
    Number.isFinite(stored[i]!) && stored[i] !== 0 ? stored[i]! : scale,
  );
  const { data } = await convert(isTurned ? turned(kept, ...dims) : kept, 'F32', type, signal);
  return {
    bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    factors: values.map((scale, i) => (scale === 0 ? 1 : kept[i]! / scale)),
  };
}

/** [rows, cols] as [cols, rows]. */
function turned(values: Float32Array, rows: number, cols: number): Float32Array {
  const made = new Float32Array(values.length);
  for (let row = 0; row < rows; row++)
    for (let col = 0; col < cols; col++) made[col * rows + row] = values[row * cols + col]!;
  return made;
}

const fileOf = ({ shards, places }: Checkpoint, name: string) => shards.get(places.get(name)!)!;
