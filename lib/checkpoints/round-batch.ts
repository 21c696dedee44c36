import { type Rank, rankOf, ranks } from '../containers/safetensors/layout';
import { binding } from '../native/binding';
import { finish } from '../native/jobs';
import type { Shared } from '../native/shared';
import type { PlannedWeight, WeightScheme } from './planned-weight';
import { type BatchUnit, isWeight } from './units';

/** Weights of one kind: what the addon is told of each, and which of the batch's weights they are. */
interface Alike {
  scheme: WeightScheme;
  places: number[];
  indices: number[];
}

/**
 * Makes the output of a batch from its input: three numbers of each weight, in order: the sums error and signal, and zeroed groups. Rejects where a weight cannot be rounded,
 * without telling which.
 */
export async function roundBatch(
  unit: BatchUnit,
  input: Shared,
  output: Shared,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const { kinds, count } = spread(unit, input, output);
  const sums = new Array<number>(3 * count).fill(0);
  for (const { scheme, places, indices } of kinds) {
    const { dtype, settings, layout } = scheme;
    const found = await finish(
      () =>
        binding().roundMany({
          ...{ input, output, places: new Float64Array(places), type: dtype, threads: 1 },
          ...{ grid: settings.grid, levels: settings.levels, scale: settings.scale, bits: settings.bits },
          ...layout.packing,
        }),
      signal,
    );
    for (const [i, index] of indices.entries())
      for (let k = 0; k < 3; ++k) sums[3 * index + k] = found[3 * i + k]!;
  }
  return sums;
}

/** Puts into the output what is only copied or known beforehand, and finds where the parts of weights go. */
function spread(
  { pieces, position, targets }: BatchUnit,
  input: Uint8Array,
  output: Uint8Array,
): { kinds: Iterable<Alike>; count: number } {
  const kinds = new Map<string, Alike>();
  const next = ranks.map(() => 0);
  let at = 0;
  for (const { rank, length } of targets) {
    next[rank] = at;
    at += length;
  }
  const take = (rank: Rank, length: number) => {
    const begin = next[rank]!;
    next[rank] = begin + length;
    return begin;
  };
  let count = 0;
  for (const piece of pieces) {
    const from = piece.position - position;
    if (!isWeight(piece)) {
      output.set(input.subarray(from, from + piece.byteLength), take(rankOf(piece.dtype), piece.byteLength));
      continue;
    }
    const { scheme } = piece;
    const { shape, settings, layout } = scheme;
    const alike = kinds.get(scheme.kind) ?? { scheme, places: [], indices: [] };
    kinds.set(scheme.kind, alike);
    alike.indices.push(count++);
    const begins = layout.parts.map(({ rank, byteLength }) => take(rank, byteLength));
    const [codes, scales, zeroPoints] = begins;
    alike.places.push(shape[0], shape[1], settings.groupSize, from, codes!);
    alike.places.push(layout.scales ? scales! : -1, layout.zeroPoints ? zeroPoints! : -1);
    for (const [i, { data }] of layout.constants.entries())
      output.set(data(), begins[begins.length - layout.constants.length + i]);
  }
  return { kinds: kinds.values(), count };
}

/** The weights of a batch, in order. */
export const weightsOf = ({ pieces }: BatchUnit): PlannedWeight[] => pieces.filter(isWeight);
