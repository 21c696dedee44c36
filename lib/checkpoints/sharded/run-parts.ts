import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryName } from '../../files/output-file';
import type { Buffers } from '../../native/buffers';
import { threadsFor } from '../../native/jobs';
import { sharedBytes } from '../../native/shared';
import { Workspace } from '../../runs/workspace';
import type { Done, Sink, Stored } from '../../traversal/sink';
import { Traversal } from '../../traversal/traversal';
import type { QuantizedLayer } from '../../types';
import { warn } from '../../warning-codes';
import { type FittedFacts, unpack } from '../fit-weight';
import { type Facts, lengthOf, partsOf, UnitMaker } from '../make-unit';
import type { PlannedWeight } from '../planned-weight';
import { type CheckpointLayer, forwardOf, traversalPartsOf } from '../run-network';
import { isLater } from '../run-units';
import { type FitUnit, targetsOf } from '../units';
import { joinedSums, layerSumsOf } from './layer-sums';
import { type Pauses, PartStore, Stalled } from './part-store';
import { type KeyedUnit, keyedUnits } from './keyed-units';
import { damaged, factsOf } from './stored-units';
import type { LayerSums, ShardOfPlan, ShardReport } from './types';
import type { UnitStore } from './unit-store';
import { type OpenPlan, requireNotThere } from './with-plan';

/**
 * Does the parts of a run that is fitted to text which fall to a shard: runs the network on its part of the text, fits its part of the neurons of each layer, and hands both to
 * the workers that have the others. What is there already is not made again. Parts of workers that are not heard of are done too.
 */
export async function runParts(
  opened: OpenPlan,
  store: UnitStore,
  buffers: Buffers,
  { index, count }: ShardOfPlan,
  drain: AbortSignal | undefined,
  pauses?: Pauses,
): Promise<Pick<ShardReport, 'units' | 'bytes' | 'layers'>> {
  const { options } = opened.prepared.settings;
  const all = options.parts ?? 1;
  const own = new Set(
    Array.from({ length: all }, (_, part) => part).filter((part) => part % count === index),
  );
  const sink = new SharedSink(opened, store, buffers, own);
  if (own.size > 0) await sink.removeDamaged();
  // More workers than parts: there is nothing for this one.
  while (own.size > 0 && !(await sink.isWhole())) {
    const exchange = new PartStore(opened.folder, opened.plan.id, own, all, options.signal, drain, pauses);
    try {
      await exchange.beat();
      await traverse(opened, sink, { count: all, isOwn: (part) => own.has(part), exchange });
      break;
    } catch (error) {
      if (!(error instanceof Stalled)) {
        // Others may have ended the run meanwhile, and taken the folder of results away.
        await requireNotThere(opened.prepared, opened.output);
        throw error;
      }
      for (const part of error.parts) own.add(part);
      opened.warnings.push(warn('WARN_VERTEXQ_TAKEN_OVER', takenOver(error.parts)));
    } finally {
      await exchange.end();
    }
  }
  const { units, bytes, layers } = sink;
  return { units, bytes: Math.round((bytes * own.size) / all), layers: joinedSums(layers) };
}

const takenOver = (parts: readonly number[]) =>
  parts.length === 1
    ? `Nobody was heard to be at part ${parts[0]} of the run: this worker did it too.`
    : `Nobody was heard to be at the parts ${parts.join(', ')} of the run: this worker did them too.`;

async function traverse(
  { prepared, folder }: OpenPlan,
  sink: SharedSink,
  parts: { count: number; isOwn: (part: number) => boolean; exchange: PartStore },
): Promise<void> {
  const { network, plan, settings } = prepared;
  const workspace = new Workspace(join(folder, 'parts'), join(folder, temporaryName()), true);
  try {
    const run = forwardOf(network!, plan, workspace, settings, parts);
    const others = await traversalPartsOf(network!, run, workspace, settings, parts);
    await new Traversal(run.fitted, run.forward, sink, settings.options, others).run();
  } finally {
    await workspace.end();
  }
}

/** Where all workers on a run keep what has become of its layers: as results of their units. The worker that has the first part writes them. */
class SharedSink implements Sink<CheckpointLayer, Stored> {
  readonly units = { done: 0, found: 0 };
  readonly layers: LayerSums[] = [];
  bytes = 0;
  /** Of a run that began anew, to do the parts of others too, each counts once. */
  private readonly counted = new Set<KeyedUnit>();
  private readonly later = new Map<PlannedWeight, KeyedUnit>();
  private readonly maker: UnitMaker;

  constructor(
    private readonly opened: OpenPlan,
    private readonly results: UnitStore,
    buffers: Buffers,
    private readonly own: ReadonlySet<number>,
  ) {
    this.maker = new UnitMaker(opened.prepared.settings, buffers);
    for (const one of keyedUnits(opened))
      if (isLater(one.unit)) this.later.set((one.unit as FitUnit).weight, one);
  }

  /** Takes results away that are not what they should be, for them to be made anew. */
  async removeDamaged(): Promise<void> {
    for (const [weight, { unit, key }] of this.later) {
      this.opened.prepared.settings.options.signal?.throwIfAborted();
      if (!(await this.isThere(weight))) continue;
      const found = await this.results
        .read(key, sharedBytes(lengthOf(targetsOf(unit))))
        .catch(() => undefined);
      if (!found || !factsOf(unit, found.facts)) await rm(this.results.pathOf(key), { force: true });
    }
  }

  /** Whether nothing is left to do. */
  async isWhole(): Promise<boolean> {
    for (const weight of this.later.keys()) if (!(await this.isThere(weight))) return false;
    return true;
  }

  has({ weight }: CheckpointLayer): Promise<boolean> {
    return this.isThere(weight);
  }

  private isThere(weight: PlannedWeight): Promise<boolean> {
    const { unit, key } = this.later.get(weight)!;
    return this.results.isThere(key, lengthOf(targetsOf(unit)));
  }

  async store({ weight }: CheckpointLayer, quantized: QuantizedLayer): Promise<Stored> {
    const one = this.later.get(weight)!;
    const { plan, unit, journalKey, key } = one;
    const facts: FittedFacts = { report: quantized.report };
    if (this.own.has(0)) {
      const { signal } = this.opened.prepared.settings.options;
      const output = sharedBytes(lengthOf(targetsOf(unit)));
      await this.maker.make(plan, unit, journalKey, output, quantized);
      await plan.source.requireUnchanged();
      await this.results.put(key, output, facts, signal);
    }
    this.count(one, facts, 'done');
    return { bytes: weight.layout.byteLength };
  }

  private count(one: KeyedUnit, facts: Facts, kind: 'done' | 'found'): void {
    if (this.counted.has(one)) return;
    this.counted.add(one);
    this.units[kind]++;
    if (kind === 'done') this.bytes += one.unit.cost;
    this.layers.push(...layerSumsOf(one.unit, facts));
  }

  async restore({ weight }: CheckpointLayer): Promise<Done<Stored>> {
    const one = this.later.get(weight)!;
    const { unit, key } = one;
    const { options } = this.opened.prepared.settings;
    const output = sharedBytes(lengthOf(targetsOf(unit)));
    const found = await this.results.read(key, output);
    const facts = found && factsOf(unit, found.facts);
    if (!facts) throw damaged(this.results, key, unit);
    const parts = partsOf(unit as FitUnit, output);
    const values = await unpack(weight, parts, threadsFor(options), options.signal);
    this.count(one, facts, 'found');
    return {
      quantized: { ...(facts as FittedFacts), values },
      stored: { bytes: weight.layout.byteLength },
    };
  }
}
