import { located } from '../errors';
import { floatBytes } from '../formats/safetensors/dtypes';
import { binding } from '../native/binding';
import { finish, threadsFor } from '../native/jobs';
import { describe } from '../options';
import type { JobOptions } from '../types';
import { Buffers, type Shared, sizeFor } from './buffers';
import type { CheckpointSettings } from './checkpoint-options';
import { fitWeight, type FittedFacts, RecordedCache } from './fit-weight';
import { checksum } from './native-work';
import { layerName, type PlannedWeight, rowsPerUnit, type ShardPlan, type Unit, unitKey } from './plan';
import { Semaphore } from './semaphore';
import type { ShardRun } from './shard-run';
import type { DoneUnit, WorkFolder } from './work-folder';

/** Sums of squares over some rows, and how long they took. */
export interface RowFacts {
  error: number;
  signal: number;
  seconds: number;
}

type RowsUnit = Extract<Unit, { kind: 'rows' }>;

/** What the units of a weight found. */
export type UnitFacts = RowFacts | FittedFacts;

/** Units on their way at a time: some are read, some computed, some written. */
export const inFlight = 8;
/** Fewer bytes are rounded on one thread. */
const oneThreadBytes = 2 ** 16;
/** Native jobs at a time: each may use all threads, and the next ones begin where one ends. */
const mostJobs = 4;

/** Does all units, reading, computing and writing at the same time. */
export class UnitRunner {
  /** By weight, what was found about rows from `row` on. */
  readonly facts = new Map<PlannedWeight, { row: number; facts: UnitFacts }[]>();
  /** Bytes of input whose work an earlier run had done. */
  resumed = 0;

  private readonly buffers = new Buffers();
  private readonly memory: Semaphore;
  private readonly compute: Semaphore;
  private readonly jobs: number;
  private readonly recorded = new RecordedCache();
  private done = 0;
  private failed = false;

  constructor(
    private readonly settings: CheckpointSettings,
    private readonly work: WorkFolder,
    private readonly total: number,
  ) {
    this.memory = new Semaphore(settings.memory);
    this.jobs = Math.min(threadsFor(settings.options), mostJobs);
    this.compute = new Semaphore(this.jobs);
  }

  private get options(): JobOptions {
    return this.settings.options;
  }

  /** Rejects with what went wrong first, after all that was on its way has ended. */
  async run(shards: readonly ShardRun[]): Promise<void> {
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

  private progress(unit: Unit): void {
    this.done += unit.cost;
    const weight = 'weight' in unit ? unit.weight : undefined;
    this.options.onProgress?.({
      ...{ stage: 'quantize', done: this.done, total: this.total, unit: 'bytes' },
      ...(weight && { layer: layerName(weight) }),
    });
  }

  private async runUnit({ shard, unit, key }: Task): Promise<void> {
    await shard.open();
    const length = lengthOf(unit);
    await this.memory.with(memoryOf(unit), async () => {
      const output = this.buffers.take(length);
      const before = this.work.done.get(key);
      let facts: UnitFacts | null;
      if (before && (await isThere(shard, unit, output, before))) {
        this.resumed += unit.cost;
        facts = before.facts as UnitFacts | null;
      } else {
        if (shard.complete) throw shard.damaged();
        facts = await this.make(shard, unit, output);
        await shard.write(output, unit.targets, this.options.signal);
        await this.work.note(key, { checksum: await checksum(output), facts }, unit.cost > 0);
      }
      if (facts && 'weight' in unit) this.keep(unit.weight, unit.kind === 'rows' ? unit.begin : 0, facts);
      // Only here: of a job that was aborted, a thread may still be writing to it.
      this.buffers.give(output);
    });
  }

  private keep(weight: PlannedWeight, row: number, facts: UnitFacts): void {
    const known = this.facts.get(weight) ?? [];
    known.push({ row, facts });
    this.facts.set(weight, known);
  }

  /** Fills `output` with the bytes of a unit's targets, one after the other. */
  private async make({ plan }: ShardRun, unit: Unit, output: Shared): Promise<UnitFacts | null> {
    const { source } = plan;
    if (unit.kind === 'copy') await source.fill(output, unit.position);
    else if (unit.kind === 'constant') output.set(unit.data);
    else if (unit.kind === 'rows') return this.round(plan, unit, output);
    else
      return this.compute.with(this.jobs, () =>
        fitWeight(source, unit.weight, partsOf(unit, output), this.recorded, this.settings),
      );
    return null;
  }

  /** Plain rounding; of a format that mixes a weight's rows, all of them, some at a time. */
  private async round({ source }: ShardPlan, unit: RowsUnit, output: Shared): Promise<RowFacts> {
    const { weight, begin, end } = unit;
    const [, cols] = weight.shape;
    const { layout, settings, dtype } = weight;
    const [codes, scales = null, zeroPoints = null] = partsOf(unit, output);
    const rowBytes = cols * floatBytes[dtype];
    const facts = { error: 0, signal: 0, seconds: 0 };
    for (let row = begin; row < end; row += rowsPerUnit(rowBytes)) {
      const rows = Math.min(rowsPerUnit(rowBytes), end - row);
      const input = this.buffers.take(rows * rowBytes);
      await source.fill(input, weight.position + row * rowBytes);
      const norms = await this.compute.with(1, async () => {
        const started = performance.now();
        const found = await finish(
          () =>
            binding().roundRows({
              ...{ input, type: dtype, rows, cols, codes: codes!, scales, zeroPoints },
              ...{ groupSize: settings.groupSize, grid: settings.grid, levels: settings.levels },
              ...{ scale: settings.scale, bits: settings.bits },
              // To start others would take longer.
              threads: rows * rowBytes < oneThreadBytes ? 1 : threadsFor(this.options),
              ...layout.packing,
              ...{ outFeatures: weight.shape[0], firstRow: row },
            }),
          this.options.signal,
        ).catch((error: unknown) => {
          throw located(`${source.path}: tensor ${describe(weight.name)}`, error);
        });
        facts.seconds += (performance.now() - started) / 1000;
        return found;
      });
      facts.error += norms.error;
      facts.signal += norms.signal;
      this.buffers.give(input);
    }
    return facts;
  }
}

/** Whether the bytes of a unit that was done are still there. */
async function isThere(shard: ShardRun, unit: Unit, bytes: Uint8Array, before: DoneUnit): Promise<boolean> {
  return (await shard.fill(bytes, unit.targets)) && (await checksum(bytes)) === before.checksum;
}

/** The parts of an output, in the order of the unit's targets. */
function partsOf({ targets }: Unit, output: Shared): Shared[] {
  let at = 0;
  return targets.map(({ length }) => output.subarray(at, (at += length)));
}

const lengthOf = ({ targets }: Unit) => targets.reduce((sum, { length }) => sum + length, 0);

/** Bytes of the buffers that a unit takes; a fit's own memory, which no buffer can be, is not among them. */
export function memoryOf(unit: Unit): number {
  const output = sizeFor(lengthOf(unit));
  if (unit.kind !== 'rows') return output;
  const rowBytes = unit.weight.shape[1] * floatBytes[unit.weight.dtype];
  return output + sizeFor(Math.min(unit.cost, rowsPerUnit(rowBytes) * rowBytes));
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
