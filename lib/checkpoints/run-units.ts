import { located, locatedMemory } from '../errors';
import { floatBytes } from '../containers/safetensors/dtypes';
import { checksum } from '../native/checksum';
import { threadsFor } from '../native/jobs';
import { describe } from '../options/messages';
import type { JobOptions, QuantizedLayer } from '../types';
import { type Shared, sharedBytes } from '../native/shared';
import { Buffers, sizeFor } from '../native/buffers';
import type { CheckpointSettings } from './checkpoint-options';
import { Findings, type BatchFacts, type RowFacts, type UnitFacts } from './findings';
import { type FittedFacts, fitWeight, pack, RecordedCache, unpack } from './fit-weight';
import { lieAsBefore, readWeight, turns } from './transposed';
import { type ShardPlan, unitKey } from './plan';
import { layerName, type PlannedWeight } from './planned-weight';
import { roundBatch, weightsOf } from './round-batch';
import { roundRows } from './round-rows';
import { Semaphore } from './semaphore';
import type { ShardRun } from './shard-run';
import {
  type BatchUnit,
  type FitUnit,
  isWeight,
  type RowsUnit,
  rowsPerUnit,
  type Target,
  targetsOf,
  type Unit,
} from './units';
import type { DoneUnit, WorkFolder } from '../runs/work-folder';

/** Units on their way at a time: some are read, some computed, some written. */
export const inFlight = 8;
/** Native jobs at a time: each may use all threads, and the next ones begin where one ends. */
const mostJobs = 4;

/** Does all units, reading, computing and writing at the same time. */
export class UnitRunner {
  readonly findings: Findings;
  /** Bytes of input whose work an earlier run had done. */
  resumed = 0;

  private readonly buffers = new Buffers();
  private readonly memory: Semaphore;
  private readonly compute: Semaphore;
  private readonly jobs: number;
  private readonly recorded = new RecordedCache();
  /** Units whose weights the network's run fits. */
  private readonly later = new Map<PlannedWeight, Task>();
  private done = 0;
  private failed = false;

  constructor(
    private readonly settings: CheckpointSettings,
    private readonly work: WorkFolder,
    private readonly total: number,
    weights: number,
  ) {
    this.findings = new Findings(weights);
    this.memory = new Semaphore(settings.memory);
    this.jobs = Math.min(threadsFor(settings.options), mostJobs);
    this.compute = new Semaphore(this.jobs);
  }

  private get options(): JobOptions {
    return this.settings.options;
  }

  /** Does all units but those of weights that the network's run fits: they are stored. Rejects with what went wrong first, after all that was on its way has ended. */
  async run(shards: readonly ShardRun[]): Promise<void> {
    for (const task of tasksOf(shards))
      if (isLater(task.unit)) this.later.set((task.unit as FitUnit).weight, task);
    const queue = tasksOf(shards);
    const commits: Promise<void>[] = [];
    let error: unknown;
    const fail = (reason: unknown) => {
      if (!this.failed) error = reason;
      this.failed = true;
    };
    const worker = async () => {
      for (const task of queue) {
        if (this.failed) return;
        if (isLater(task.unit)) continue;
        try {
          this.options.signal?.throwIfAborted();
          await this.runUnit(task);
          // Syncing a file takes a while: the next one's work goes on.
          commits.push(task.shard.finishUnit().catch(fail));
          this.progress(task.unit);
        } catch (reason) {
          fail(reason);
        }
      }
    };
    await Promise.all(Array.from({ length: inFlight }, worker));
    await Promise.all(commits);
    if (!this.failed) return;
    if (!this.options.signal?.aborted) for (const shard of shards) await shard.requireUnchanged();
    throw error;
  }

  /** Writes what has become of a weight that was fitted elsewhere, where an earlier run has not. */
  async store(weight: PlannedWeight, quantized: QuantizedLayer): Promise<void> {
    const task = this.later.get(weight)!;
    await this.runUnit(task, quantized);
    await task.shard.finishUnit();
  }

  /** Of the weights that are fitted elsewhere those that an earlier run has written, and whose bytes are still there. */
  async findFitted(): Promise<ReadonlySet<PlannedWeight>> {
    const found = new Set<PlannedWeight>();
    for (const [weight, { shard, unit, key }] of this.later) {
      const before = this.work.done.get(key);
      if (!before) continue;
      await shard.open();
      const targets = targetsOf(unit);
      const bytes = this.buffers.take(lengthOf(targets));
      if (await isThere(shard, targets, bytes, before)) found.add(weight);
      this.buffers.give(bytes);
    }
    return found;
  }

  /** What an earlier run has made of a weight that was fitted elsewhere: what is written tells its values to the last bit. */
  async restore(weight: PlannedWeight): Promise<FittedFacts & { values: Float32Array }> {
    const task = this.later.get(weight)!;
    let values: Float32Array;
    const facts = await this.runUnit(task, undefined, async (bytes) => {
      const { signal } = this.options;
      values = await unpack(weight, partsOf(task.unit as FitUnit, bytes), threadsFor(this.options), signal);
    });
    await task.shard.finishUnit();
    return { ...(facts as FittedFacts), values: values! };
  }

  private progress(unit: Unit): void {
    this.done += unit.cost;
    const weight = lastWeight(unit);
    this.options.onProgress?.({
      ...{ stage: 'quantize', done: this.done, total: this.total, unit: 'bytes' },
      ...(weight && { layer: layerName(weight) }),
    });
  }

  /** `onFound`: gets the bytes of what an earlier run has done. */
  private async runUnit(
    { shard, unit, key }: Task,
    quantized?: QuantizedLayer,
    onFound?: (bytes: Shared) => Promise<void>,
  ): Promise<UnitFacts | BatchFacts | null> {
    await shard.open();
    const targets = targetsOf(unit);
    const work = async () => {
      const output = this.buffers.take(lengthOf(targets));
      const before = this.work.done.get(key);
      let facts: UnitFacts | BatchFacts | null;
      if (before && (await isThere(shard, targets, output, before))) {
        this.resumed += unit.cost;
        facts = before.facts as typeof facts;
        await onFound?.(output);
      } else {
        if (shard.complete || onFound) throw shard.damaged();
        facts = await this.make(shard.plan, unit, output, quantized);
        await shard.write(output, targets, this.options.signal);
        await this.work.note(key, { checksum: await checksum(output), facts });
      }
      if (unit.kind === 'batch') this.findings.addBatch(weightsOf(unit), facts as BatchFacts);
      else if (unit.kind !== 'copy')
        this.findings.add(unit.weight, unit.kind === 'rows' ? unit.begin : 0, facts as UnitFacts);
      // Only here: of a job that was aborted, a thread may still be writing to it.
      this.buffers.give(output);
      return facts;
    };
    return this.memory.with(memoryOf(unit), work).catch((error: unknown) => {
      throw locatedMemory(placeOf(shard.plan.source.path, unit), error);
    });
  }

  /** Fills `output` with the bytes of a unit's targets, one after the other. */
  private async make(
    plan: ShardPlan,
    unit: Unit,
    output: Shared,
    quantized: QuantizedLayer | undefined,
  ): Promise<UnitFacts | BatchFacts | null> {
    const { source } = plan;
    if (unit.kind === 'batch') return this.batch(plan, unit, output);
    if (unit.kind === 'rows') return this.round(plan, unit, output);
    if (unit.kind === 'fit' && quantized) {
      const { signal } = this.options;
      await pack(quantized, unit.weight, partsOf(unit, output), threadsFor(this.options), signal);
      return { report: quantized.report };
    }
    if (unit.kind === 'fit')
      return this.compute.with(this.jobs, () =>
        fitWeight(source, unit.weight, partsOf(unit, output), this.recorded, this.settings),
      );
    await source.fill(output, unit.position);
    return null;
  }

  private async batch(plan: ShardPlan, unit: BatchUnit, output: Shared): Promise<BatchFacts> {
    const { signal } = this.options;
    const input = this.buffers.take(unit.cost);
    await plan.source.fill(input, unit.position);
    let seconds = 0;
    const rounding = this.compute.with(1, async () => {
      const started = performance.now();
      const found = await roundBatch(unit, input, output, signal);
      seconds = (performance.now() - started) / 1000;
      return found;
    });
    const sums = await rounding.catch(async (error: unknown) => {
      signal?.throwIfAborted();
      // Which weight it is, is told by rounding each by itself.
      for (const weight of weightsOf(unit)) await this.roundAlone(plan, weight);
      throw located(plan.source.path, error);
    });
    this.buffers.give(input);
    return { sums, seconds };
  }

  private async roundAlone(plan: ShardPlan, weight: PlannedWeight): Promise<void> {
    const end = weight.shape[0];
    const unit: RowsUnit = { kind: 'rows', cost: 0, weight, begin: 0, end, places: [0, 0, 0, 0] };
    await this.round(plan, unit, sharedBytes(weight.layout.byteLength));
  }

  /** Plain rounding; of a format that mixes a weight's rows, all of them, some at a time. */
  private async round({ source }: ShardPlan, unit: RowsUnit, output: Shared): Promise<RowFacts> {
    const { weight, begin, end } = unit;
    const [, cols] = weight.shape;
    const [codes, scales, zeroPoints] = partsOf(unit, output);
    const rowBytes = cols * floatBytes[weight.dtype];
    const step = stepOf(weight);
    const facts = { error: 0, signal: 0, seconds: 0 };
    for (let row = begin; row < end; row += step) {
      const rows = Math.min(step, end - row);
      const input = this.buffers.take(rows * rowBytes);
      if (weight.stride > 0) await readWeight(source, weight, input);
      else await source.fill(input, weight.position + row * rowBytes);
      const norms = await this.compute.with(1, async () => {
        const started = performance.now();
        const own = { data: input, rows, cols, firstRow: row, outFeatures: weight.shape[0] };
        const room = { codes, scales, zeroPoints, begin };
        const found = await roundRows(weight, own, room, this.options).catch((error: unknown) => {
          throw located(placeOf(source.path, unit), error);
        });
        facts.seconds += (performance.now() - started) / 1000;
        return found;
      });
      facts.error += norms.error;
      facts.signal += norms.signal;
      this.buffers.give(input);
    }
    await lieAsBefore(weight, codes, this.options.signal);
    return facts;
  }
}

/** Rows that are rounded at a time. */
const stepOf = ({ shape: [rows, cols], dtype, stride }: PlannedWeight): number =>
  stride > 0 ? rows : rowsPerUnit(cols * floatBytes[dtype]);

/** What a unit is of, as errors call it. */
const placeOf = (path: string, unit: Unit): string =>
  'weight' in unit ? `${path}: tensor ${describe(unit.weight.name)}` : path;

/** Whether the network's run fits its weight. */
export const isLater = (unit: Unit): boolean => unit.kind === 'fit' && unit.weight.inNetwork;

/** Whether the bytes of a unit that was done are still there. */
async function isThere(
  shard: ShardRun,
  targets: readonly Target[],
  bytes: Uint8Array,
  before: DoneUnit,
): Promise<boolean> {
  return (await shard.fill(bytes, targets)) && (await checksum(bytes)) === before.checksum;
}

/** Where a weight's codes, scales and zero points go; constants, which are known, are put there. */
function partsOf(
  unit: RowsUnit | FitUnit,
  output: Shared,
): [codes: Shared, scales: Shared | null, zeroPoints: Shared | null] {
  // Places of its own for each input.
  if (turns(unit.weight)) return [output, null, null];
  const { scales, zeroPoints, constants } = unit.weight.layout;
  let at = 0;
  const parts = targetsOf(unit).map(({ length }) => output.subarray(at, (at += length)));
  for (const [i, { data }] of constants.entries()) {
    const part = parts[parts.length - constants.length + i]!;
    if (part.length > 0) part.set(data());
  }
  return [parts[0]!, scales ? parts[1]! : null, zeroPoints ? parts[2]! : null];
}

const lengthOf = (targets: readonly Target[]) => targets.reduce((sum, { length }) => sum + length, 0);

/** The weight that progress tells of. */
function lastWeight(unit: Unit): PlannedWeight | undefined {
  if (unit.kind !== 'batch') return unit.kind === 'copy' ? undefined : unit.weight;
  for (let i = unit.pieces.length - 1; i >= 0; i--) {
    const piece = unit.pieces[i]!;
    if (isWeight(piece)) return piece;
  }
  return undefined;
}

/** Bytes of the buffers that a unit takes; a fit's own memory, which no buffer can be, is not among them. */
export function memoryOf(unit: Unit): number {
  const output = sizeFor(lengthOf(targetsOf(unit)));
  if (unit.kind === 'batch') return output + sizeFor(unit.cost);
  if (unit.kind !== 'rows') return output;
  const rowBytes = unit.weight.shape[1] * floatBytes[unit.weight.dtype];
  const rows = Math.min(stepOf(unit.weight), unit.end - unit.begin);
  // Turned, its values are there twice.
  return output + sizeFor(rows * rowBytes) + (turns(unit.weight) ? output : 0);
}

interface Task {
  shard: ShardRun;
  unit: Unit;
  /** The same in every run. */
  key: string;
}

/** One after the other, for several to take from. */
function* tasksOf(shards: readonly ShardRun[]): Generator<Task> {
  for (const shard of shards)
    for (const [i, unit] of shard.plan.units.entries()) yield { shard, unit, key: unitKey(shard.plan, i) };
}
