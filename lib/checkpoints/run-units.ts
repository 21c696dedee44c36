import { locatedMemory } from '../errors';
import { checksum } from '../native/checksum';
import { threadsFor } from '../native/jobs';
import type { JobOptions, QuantizedLayer } from '../types';
import type { Shared } from '../native/shared';
import { Buffers } from '../native/buffers';
import type { CheckpointSettings } from './checkpoint-options';
import { Findings, type BatchFacts, type UnitFacts } from './findings';
import { type FittedFacts, unpack } from './fit-weight';
import { type Facts, lengthOf, memoryOf, partsOf, placeOf, UnitMaker, type UnitSource } from './make-unit';
import { unitKey } from './plan';
import { layerName, type PlannedWeight } from './planned-weight';
import { weightsOf } from './round-batch';
import { Semaphore } from './semaphore';
import type { ShardRun } from './shard-run';
import { type FitUnit, isWeight, type Target, targetsOf, type Unit } from './units';
import type { DoneUnit, WorkFolder } from '../runs/work-folder';

/** Units on their way at a time: some are read, some computed, some written. */
export const inFlight = 8;

/** Does all units, reading, computing and writing at the same time. */
export class UnitRunner {
  readonly findings: Findings;
  /** Bytes of input whose work an earlier run had done. */
  resumed = 0;

  /** Of the bytes of units that are done, as journals call them. */
  readonly checksums = new Map<string, string>();
  private readonly buffers = new Buffers();
  private readonly memory: Semaphore;
  private readonly source: UnitSource;
  private readonly isGiven: boolean;
  /** Units whose weights the network's run fits. */
  private readonly later = new Map<PlannedWeight, Task>();
  private done = 0;
  private failed = false;

  constructor(
    private readonly settings: CheckpointSettings,
    private readonly work: WorkFolder,
    private readonly total: number,
    weights: number,
    /** Default: they are computed here. */
    source?: UnitSource,
  ) {
    this.findings = new Findings(weights);
    this.memory = new Semaphore(settings.memory);
    this.isGiven = source !== undefined;
    this.source = source ?? new UnitMaker(settings, this.buffers);
  }

  private get options(): JobOptions {
    return this.settings.options;
  }

  /** Does all units but those of weights that the network's run fits: they are stored. Rejects with what went wrong first, after all that was on its way has ended. */
  async run(shards: readonly ShardRun[]): Promise<void> {
    for (const task of tasksOf(shards))
      if (this.isLater(task.unit)) this.later.set((task.unit as FitUnit).weight, task);
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
        if (this.isLater(task.unit)) continue;
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

  /** Whether the network's run fits its weight here. */
  private isLater = (unit: Unit): boolean => !this.isGiven && isLater(unit);

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
  ): Promise<Facts> {
    await shard.open();
    const targets = targetsOf(unit);
    const work = async () => {
      const output = this.buffers.take(lengthOf(targets));
      const before = this.work.done.get(key);
      let facts: Facts;
      if (before && (await isThere(shard, targets, output, before))) {
        this.resumed += unit.cost;
        this.checksums.set(key, before.checksum);
        facts = before.facts as typeof facts;
        await onFound?.(output);
      } else {
        if (shard.complete || onFound) throw shard.damaged();
        facts = await this.source.make(shard.plan, unit, key, output, quantized);
        await shard.write(output, targets, this.options.signal);
        const sum = await checksum(output);
        this.checksums.set(key, sum);
        await this.work.note(key, { checksum: sum, facts });
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
}

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

/** The weight that progress tells of. */
function lastWeight(unit: Unit): PlannedWeight | undefined {
  if (unit.kind !== 'batch') return unit.kind === 'copy' ? undefined : unit.weight;
  for (let i = unit.pieces.length - 1; i >= 0; i--) {
    const piece = unit.pieces[i]!;
    if (isWeight(piece)) return piece;
  }
  return undefined;
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
