import { atOnce } from '../../at-once';
import { Buffers } from '../../native/buffers';
import { checkOptions } from '../../options/table';
import { requireWritable, RunFiles } from '../../runs/run-files';
import { type Facts, lengthOf, memoryOf, UnitMaker } from '../make-unit';
import type { Prepared } from '../prepared';
import { inFlight, isLater } from '../run-units';
import { Semaphore } from '../semaphore';
import { targetsOf } from '../units';
import { type KeyedUnit, keyedUnits } from './keyed-units';
import { joinedSums, layerSumsOf } from './layer-sums';
import type { LayerSums, PlanFile, ShardOfPlan, ShardOptions, ShardReport } from './types';
import { runParts } from './run-parts';
import { factsOf } from './stored-units';
import { UnitStore } from './unit-store';
import { type OpenPlan, withPlan } from './with-plan';

/**
 * Does the units of one shard of a plan, `planRun`'s or a file, and keeps their results in a folder beside the output, for `finishRun`. Results that are there already are not
 * made again, so that it may be run twice, at once too, and again after it was interrupted or killed. Rejects with ERR_VERTEXQ_PLAN where the plan is not of what
 * is here, and as `quantizeCheckpoint` does; with ERR_VERTEXQ_EXISTS where the output is there.
 */
export async function runShard(plan: string | PlanFile, options: ShardOptions = {}): Promise<ShardReport> {
  return runShardWith(new RunFiles(), plan, options);
}

/** `runShard` of a command that reads and writes other files too, or that does many and keeps `buffers` between them. */
export async function runShardWith(
  files: RunFiles,
  plan: string | PlanFile,
  { shard = { index: 0, count: 1 }, drain, ...own }: ShardOptions,
  buffers = new Buffers(),
): Promise<ShardReport> {
  const started = performance.now();
  checkOptions('runShard', { shard, ...(drain !== undefined && { drain }), ...own });
  if (!(shard.index < shard.count))
    throw new RangeError(
      `Expected the "shard" option to have an index from 0 to ${shard.count - 1}, as there are ${shard.count}, not ${shard.index}`,
    );
  return withPlan(files, plan, own, async (opened) => {
    await requireWritable(opened.output, { mayExist: true });
    const store = new UnitStore(opened.folder);
    await store.prepare();
    const own = await new ShardWorker(opened, store, buffers, drain).run(unitsOf(opened, shard));
    const done = opened.prepared.network
      ? withParts(own, await runParts(opened, store, buffers, shard, drain))
      : own;
    const seconds = (performance.now() - started) / 1000;
    return { plan: opened.plan.id, shard, ...done, warnings: opened.warnings, seconds };
  });
}

type Done = Pick<ShardReport, 'units' | 'bytes' | 'layers'>;

const withParts = (own: Done, parts: Done): Done => ({
  units: { done: own.units.done + parts.units.done, found: own.units.found + parts.units.found },
  bytes: own.bytes + parts.bytes,
  layers: [...own.layers, ...parts.layers],
});

/** The units of a shard that leave results: those that lie one after the other until it has read its part of the bytes. */
function unitsOf(opened: OpenPlan, { index, count }: ShardOfPlan): KeyedUnit[] {
  const all = [...keyedUnits(opened)].filter(({ unit }) => unit.kind !== 'copy' && !isLater(unit));
  const total = all.reduce((sum, { unit }) => sum + unit.cost, 0);
  let before = 0;
  return all.filter(({ unit }) => {
    const middle = before + unit.cost / 2;
    before += unit.cost;
    return Math.min(count - 1, Math.floor((middle / total) * count)) === index;
  });
}

class ShardWorker {
  private readonly memory: Semaphore;
  private readonly maker: UnitMaker;
  private readonly units = { done: 0, found: 0 };
  private readonly layers: LayerSums[][] = [];
  private bytes = 0;
  private passed = 0;
  private total = 0;

  constructor(
    private readonly opened: OpenPlan,
    private readonly store: UnitStore,
    private readonly buffers: Buffers,
    private readonly drain: AbortSignal | undefined,
  ) {
    const { settings } = opened.prepared;
    this.memory = new Semaphore(settings.memory);
    this.maker = new UnitMaker(settings, this.buffers);
  }

  private get prepared(): Prepared {
    return this.opened.prepared;
  }

  /** Rejects with what went wrong first, after all that was on its way has ended. */
  async run(units: readonly KeyedUnit[]): Promise<Done> {
    this.total = units.reduce((sum, { unit }) => sum + unit.cost, 0);
    const { signal, onProgress } = this.prepared.settings.options;
    await atOnce(units, inFlight, async (one, i) => {
      signal?.throwIfAborted();
      this.drain?.throwIfAborted();
      this.layers[i] = layerSumsOf(one.unit, await this.unit(one));
      this.passed += one.unit.cost;
      const layer = this.layers[i]?.at(-1)?.name;
      onProgress?.({
        ...{ stage: 'quantize', done: this.passed, total: this.total, unit: 'bytes' },
        ...(layer !== undefined && { layer }),
      });
    });
    return { units: this.units, bytes: this.bytes, layers: joinedSums(this.layers.flat()) };
  }

  private unit({ plan, unit, journalKey, key }: KeyedUnit): Promise<Facts> {
    return this.memory.with(memoryOf(unit), async () => {
      const output = this.buffers.take(lengthOf(targetsOf(unit)));
      const found = await this.store.read(key, output);
      let facts = found && factsOf(unit, found.facts);
      if (facts) this.units.found++;
      else {
        facts = await this.maker.make(plan, unit, journalKey, output, undefined);
        // What was read since the input has been written must not be kept as a result of the plan's.
        await plan.source.requireUnchanged();
        for (const file of this.prepared.recorded?.paths ?? []) await file.requireUnchanged();
        await this.store.put(key, output, facts, this.prepared.settings.options.signal);
        this.units.done++;
        this.bytes += unit.cost;
      }
      // Only here: of a job that was aborted, a thread may still be writing to it.
      this.buffers.give(output);
      return facts;
    });
  }
}
