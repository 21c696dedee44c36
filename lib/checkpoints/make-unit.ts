import { located } from '../errors';
import { floatBytes } from '../containers/safetensors/dtypes';
import { threadsFor } from '../native/jobs';
import { describe } from '../options/messages';
import type { JobOptions, QuantizedLayer } from '../types';
import { type Shared, sharedBytes } from '../native/shared';
import type { Buffers } from '../native/buffers';
import { sizeFor } from '../native/buffers';
import type { CheckpointSettings } from './checkpoint-options';
import type { BatchFacts, RowFacts, UnitFacts } from './findings';
import { fitWeight, pack, RecordedCache } from './fit-weight';
import { lieAsBefore, readWeight, turns } from './transposed';
import type { ShardPlan } from './plan';
import type { PlannedWeight } from './planned-weight';
import { roundBatch, weightsOf } from './round-batch';
import { roundRows } from './round-rows';
import { Semaphore } from './semaphore';
import {
  type BatchUnit,
  type FitUnit,
  type RowsUnit,
  rowsPerUnit,
  type Target,
  targetsOf,
  type Unit,
} from './units';

/** Native jobs at a time: each may use all threads, and the next ones begin where one ends. */
const mostJobs = 4;

/** What a unit found; null of bytes that are only copied. */
export type Facts = UnitFacts | BatchFacts | null;

/** Where the bytes of units come from. */
export interface UnitSource {
  /** Fills `output` with the bytes of a unit's targets, one after the other. `key`: what the journal calls it. */
  make(
    plan: ShardPlan,
    unit: Unit,
    key: string,
    output: Shared,
    quantized: QuantizedLayer | undefined,
  ): Promise<Facts>;
}

/** Computes them from the input. */
export class UnitMaker implements UnitSource {
  private readonly compute: Semaphore;
  private readonly jobs: number;
  private readonly recorded = new RecordedCache();

  constructor(
    private readonly settings: CheckpointSettings,
    private readonly buffers: Buffers,
  ) {
    this.jobs = Math.min(threadsFor(settings.options), mostJobs);
    this.compute = new Semaphore(this.jobs);
  }

  private get options(): JobOptions {
    return this.settings.options;
  }

  async make(
    plan: ShardPlan,
    unit: Unit,
    _key: string,
    output: Shared,
    quantized: QuantizedLayer | undefined,
  ): Promise<Facts> {
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
    const facts = { error: 0, signal: 0, zeroedGroups: 0, seconds: 0 };
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
      facts.zeroedGroups += norms.zeroedGroups;
      this.buffers.give(input);
    }
    await lieAsBefore(weight, codes, this.options.signal);
    return facts;
  }
}

/** What a unit is of, as errors call it. */
export const placeOf = (path: string, unit: Unit): string =>
  'weight' in unit ? `${path}: tensor ${describe(unit.weight.name)}` : path;

/** Rows that are rounded at a time. */
const stepOf = ({ shape: [rows, cols], dtype, stride }: PlannedWeight): number =>
  stride > 0 ? rows : rowsPerUnit(cols * floatBytes[dtype]);

/** Where a weight's codes, scales and zero points go; constants, which are known, are put there. */
export function partsOf(
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

export const lengthOf = (targets: readonly Target[]) => targets.reduce((sum, { length }) => sum + length, 0);

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
