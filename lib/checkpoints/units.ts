import { rangesOf } from '../encodings/safetensors/matrices';
import { isByRows, rangesOfRows } from '../encodings/safetensors/layout';
import { floatBytes } from '../containers/safetensors/dtypes';
import type { TensorEntry } from '../containers/tensor-file';
import { type Rank, rankOf, ranks } from '../containers/safetensors/layout';
import { PlannedWeight } from './planned-weight';
import { turns } from './transposed';

/** A range of bytes in the output's file, after its header. */
export interface Target {
  position: number;
  length: number;
}

/** A piece of work that is done once, and either whole or not at all. `cost`: bytes that it reads. */
export type Unit = CopyUnit | RowsUnit | FitUnit | BatchUnit;

/** Bytes that are copied from `position` of the input to `place` of the output. */
export interface CopyUnit {
  kind: 'copy';
  cost: number;
  position: number;
  place: number;
}

/** Some rows of a weight that is rounded by itself. `places`: where each of its parts begins. */
export interface RowsUnit {
  kind: 'rows';
  cost: number;
  weight: PlannedWeight;
  begin: number;
  end: number;
  places: readonly number[];
}

/** A weight that is fitted to data. */
export interface FitUnit {
  kind: 'fit';
  cost: number;
  weight: PlannedWeight;
  places: readonly number[];
}

/** A weight that is rounded, or a tensor that is copied. */
export type Piece = PlannedWeight | TensorEntry;

/** Small tensors whose bytes lie one after the other in the input from `position` on. */
export interface BatchUnit {
  kind: 'batch';
  cost: number;
  position: number;
  pieces: readonly Piece[];
  /** By the ranks of what is in them, in whose order the pieces' parts lie there. */
  targets: readonly RankTarget[];
}

export interface RankTarget extends Target {
  rank: Rank;
}

export const isWeight = (piece: Piece): piece is PlannedWeight => piece instanceof PlannedWeight;

/** Where a unit's bytes go. */
export function targetsOf(unit: Unit): readonly Target[] {
  if (unit.kind === 'copy') return [{ position: unit.place, length: unit.cost }];
  if (unit.kind === 'batch') return unit.targets;
  const { weight, places } = unit;
  const { layout, shape } = weight;
  if (turns(weight)) return rangesOf(weight, places[0]!, floatBytes[weight.dtype]);
  const [begin, end] = unit.kind === 'rows' ? [unit.begin, unit.end] : [0, shape[0]];
  return rangesOfRows(layout, shape[0], begin, end).map(({ begin: from, length }, i) => ({
    ...{ position: places[i]! + from, length },
  }));
}

/** Bytes of input in a unit: small enough for several to be in memory, and large enough that nothing else takes time. */
const unitBytes = 2 ** 24;
/** Rows of a unit begin at multiples of this: there packed zero points begin at a word. */
const rowBlock = 32;
/** A weight that is larger is worth a piece of work of its own. */
const smallBytes = 2 ** 16;
/** Bytes of a batch, read or written: several are computed at the same time. */
const batchBytes = 2 ** 20;
/** Pieces of a batch: what is done with them at once does not keep the event loop. */
const batchPieces = 1024;

/** Rows read at a time: whole blocks of them. */
export function rowsPerUnit(rowBytes: number): number {
  return Math.max(1, Math.floor(unitBytes / rowBytes / rowBlock)) * rowBlock;
}

/** Tensors on their way into one unit. */
class Run {
  readonly pieces: Piece[] = [];
  cost = 0;
  /** Of each piece the larger of what is read and what is written. */
  bytes = 0;
  /** Of copies alone that lie side by side in the output too, theirs. */
  rank: Rank | undefined;
  private readonly spans: (Target | undefined)[] = ranks.map(() => undefined);

  constructor(readonly position: number) {}

  add(piece: Piece, cost: number, bytes: number, rank: Rank | undefined): void {
    this.rank = this.pieces.length === 0 || this.rank === rank ? rank : undefined;
    this.pieces.push(piece);
    this.cost += cost;
    this.bytes += bytes;
  }

  /** Notes that the bytes of such a rank are followed by others, or begin there. */
  extend(rank: Rank, position: number, length: number): void {
    const span = this.spans[rank];
    if (span) span.length += length;
    else this.spans[rank] = { position, length };
  }

  get targets(): RankTarget[] {
    return ranks.flatMap((rank) => (this.spans[rank] ? [{ rank, ...this.spans[rank] }] : []));
  }
}

/**
 * The units of a file's tensors, which are given as they lie there. Where they are many, small ones become a unit together: what each takes
 * besides its bytes would be most of all.
 */
export class UnitList {
  private readonly units: Unit[] = [];
  private run: Run | undefined;

  constructor(private readonly joins: boolean) {}

  /** A tensor that is copied to `place`. */
  copy(entry: TensorEntry, place: number): void {
    const { position, byteLength } = entry;
    if (byteLength === 0) return;
    if (this.joins && byteLength < unitBytes) {
      const rank = rankOf(entry.dtype);
      const run = this.runFor(position, byteLength, rank);
      run.add(entry, byteLength, byteLength, rank);
      run.extend(rank, place, byteLength);
      return;
    }
    this.flush();
    for (let begin = 0; begin < byteLength; begin += unitBytes) {
      const cost = Math.min(unitBytes, byteLength - begin);
      this.units.push({ kind: 'copy', cost, position: position + begin, place: place + begin });
    }
  }

  /** A weight whose parts begin at `places`, which the caller may use again. */
  weight(weight: PlannedWeight, places: readonly number[]): void {
    const { layout, shape, dtype, position, isFitted, stride } = weight;
    const cost = shape[0] * shape[1] * floatBytes[dtype];
    const bytes = Math.max(cost, layout.byteLength);
    if (isFitted || stride > 0 || !this.joins || bytes > smallBytes) {
      this.flush();
      this.own(weight, [...places]);
      return;
    }
    const run = this.runFor(position, bytes, undefined);
    run.add(weight, cost, bytes, undefined);
    for (const [i, part] of layout.parts.entries()) run.extend(part.rank, places[i]!, part.byteLength);
  }

  /** All units; layers with the same recorded input one after the other, because what was made of it is kept for the next. */
  finish(): Unit[] {
    this.flush();
    return inDataOrder(this.units);
  }

  /** The run that one more piece goes to. */
  private runFor(position: number, bytes: number, rank: Rank | undefined): Run {
    const { run } = this;
    if (run) {
      // Bytes that are only carried along need no room for what is made of them.
      const isPlain = rank !== undefined && run.rank === rank;
      const all = run.bytes + bytes;
      if (isPlain ? all <= unitBytes : all <= batchBytes && run.pieces.length < batchPieces) return run;
      this.flush();
    }
    return (this.run = new Run(position));
  }

  private flush(): void {
    const { run } = this;
    this.run = undefined;
    if (!run) return;
    const { position, cost, pieces, targets, rank } = run;
    if (rank !== undefined) this.units.push({ kind: 'copy', cost, position, place: targets[0]!.position });
    else this.units.push({ kind: 'batch', cost, position, pieces, targets });
  }

  private own(weight: PlannedWeight, places: readonly number[]): void {
    const [rows, cols] = weight.shape;
    const rowBytes = cols * floatBytes[weight.dtype];
    if (weight.isFitted) {
      this.units.push({ kind: 'fit', weight, cost: rows * rowBytes, places });
      return;
    }
    const step = isByRows(weight.layout) && weight.stride === 0 ? rowsPerUnit(rowBytes) : rows;
    for (let begin = 0; begin < rows; begin += step) {
      const end = Math.min(rows, begin + step);
      this.units.push({ kind: 'rows', weight, begin, end, cost: (end - begin) * rowBytes, places });
    }
  }
}

function inDataOrder(units: Unit[]): Unit[] {
  const first = new Map<unknown, number>();
  const keys = units.map((unit, i) => {
    const input = unit.kind === 'fit' ? unit.weight.recorded : null;
    if (!input) return i;
    if (!first.has(input)) first.set(input, i);
    return first.get(input)!;
  });
  if (first.size === 0) return units;
  return units
    .map((unit, i) => ({ unit, key: keys[i]!, i }))
    .sort((a, b) => a.key - b.key || a.i - b.i)
    .map(({ unit }) => unit);
}
