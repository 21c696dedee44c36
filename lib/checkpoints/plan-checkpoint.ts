import { availableProcessors } from '../processors';
import { join } from 'node:path';
import { floatBytes } from '../containers/safetensors/dtypes';
import { plainMethod } from '../methods';
import { threadsFor } from '../native/jobs';
import { type PlannedTensor, type RunPlan, runPlan } from '../runs/plan';
import { RunFiles } from '../runs/run-files';
import type { CheckpointSettings } from './checkpoint-options';
import { estimateNetwork } from './estimate-network';
import type { Plan } from './plan';
import { roundRows } from './round-rows';
import { skippedOf, weightBytes } from './plan-views';
import type { PlannedWeight } from './planned-weight';
import { fileNames, shardPaths } from './output-files';
import type { Prepared } from './prepared';
import { memoryOf } from './make-unit';
import { inFlight, isLater } from './run-units';
import { withTarget } from './target';
import type { BudgetReport } from '../sensitivity/choose';
import { Turns } from '../yielding';
import type { CheckpointOptions } from './types';

/** Bytes a second that a disk in between reads and writes. */
const ioRate = 1e9;
/** Bytes that a fit takes per weight: as float32, as float64 for the engine, its codes. */
const fitBytes = 13;

/**
 * What `quantizeCheckpoint` would do, from the headers of the files and the calibration data: nothing is run and nothing is written. Rejects as it does, but that whether the
 * output could be written is not looked at.
 */
export async function planCheckpoint(
  input: string,
  output: string,
  given: CheckpointOptions = {},
): Promise<RunPlan> {
  return planCheckpointWith(new RunFiles(), input, output, given);
}

/** `planCheckpoint` of a run that reads and writes other files too. */
export async function planCheckpointWith(
  files: RunFiles,
  input: string,
  to: string,
  given: CheckpointOptions,
): Promise<RunPlan> {
  return withTarget(files, input, to, given, (prepared, budget) => runPlanOf(input, prepared, budget), true);
}

/** What a run would do that is prepared. */
export async function runPlanOf(
  input: string,
  prepared: Prepared,
  budget: BudgetReport | null,
): Promise<RunPlan> {
  const { settings, output, plan, isFile, network } = prepared;
  const { before, after } = weightBytes(plan);
  const turns = new Turns(settings.options.signal);
  const count = plan.weights.reduce((sum, { shape }) => sum + shape[0] * shape[1], 0);
  const estimate = network && (await estimateNetwork(network, plan, settings));
  const found: Omit<RunPlan, 'bitsPerWeight'> = {
    ...{ input, output, format: settings.format, warnings: plan.warnings, ...(budget && { budget }) },
    files: isFile ? shardPaths(prepared) : fileNames(prepared).map((name) => join(output, name)),
    tensors: await tensorsOf(plan, turns),
    skipped: await skippedOf(plan, turns),
    bytes: {
      before: plan.shards.reduce((sum, { source }) => sum + source.size, 0),
      after: plan.shards.reduce((sum, { size }) => sum + size, 0),
      weightsBefore: before,
      weightsAfter: after,
    },
    fitted: plan.weights.filter(({ isFitted, settings: { method } }) => isFitted && method !== plainMethod)
      .length,
    tokens: estimate && estimate.tokens,
    seconds: await estimateSeconds(plan, settings, estimate?.seconds ?? 0),
    memory: estimateMemory(plan, settings) + (estimate?.memory ?? 0),
  };
  return runPlan(found, count);
}

async function tensorsOf({ shards, weights, left }: Plan, turns: Turns): Promise<PlannedTensor[]> {
  const tensors: PlannedTensor[] = [];
  let next = 0;
  for (const { source } of shards)
    for (const [name, { dtype, shape, byteLength }] of source.tensors) {
      if (turns.due) await turns.next();
      const weight = weights[next]?.tensor === name ? weights[next] : undefined;
      let after = 0;
      for (; weights[next]?.tensor === name; next++) after += weights[next]!.layout.byteLength;
      tensors.push({
        ...{ name, dtype, shape },
        action: weight ? 'quantize' : 'copy',
        reason: left.get(name)?.reason ?? null,
        method: weight?.settings.method ?? null,
        bits: weight?.settings.bits ?? null,
        groupSize: weight?.settings.groupSize ?? null,
        bytes: { before: byteLength, after: weight ? after : byteLength },
      });
    }
  return tensors;
}

/** Rows of the trial. */
const trialRows = 256;

/** Seconds: of each scheme some rows are rounded, and files are read and written at a rate that is supposed. `inNetwork`: what the network's run takes. */
async function estimateSeconds(
  { weights, shards }: Plan,
  { options }: CheckpointSettings,
  inNetwork: number,
): Promise<number | null> {
  if (weights.some(({ recorded }) => recorded)) return null;
  const rates = new Map<string, number>();
  let compute = 0;
  for (const weight of weights) {
    if (weight.inNetwork) continue;
    const { bits, grid, groupSize, scale } = weight.settings;
    const key = [weight.layout.block?.name, bits, grid, groupSize, scale, weight.dtype].join();
    const rate = rates.get(key) ?? (await trial(weight, threadsFor(options)));
    rates.set(key, rate);
    compute += rate * weight.shape[0] * weight.shape[1];
  }
  const bytes = shards.reduce((sum, { source, size }) => sum + source.size + size, 0);
  return Math.max(compute, bytes / ioRate) + inNetwork;
}

/** Seconds a weight, of rounding pseudo-random ones on all threads. */
async function trial(
  { name, dtype, shape, settings, layout }: PlannedWeight,
  threads: number,
): Promise<number> {
  const cols = Math.max(settings.groupSize, Math.min(shape[1], 4096));
  const input = new Uint8Array(trialRows * cols * floatBytes[dtype]);
  const words = new Uint16Array(input.buffer);
  // Of every dtype some number between 0.01 and 1.
  let state = 1;
  for (let i = 0; i < words.length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    words[i] = (dtype === 'F16' ? 0x2400 : 0x3c00) | ((state >> 8) & 0x83ff);
  }
  const bytes = () => new Uint8Array(trialRows * cols * 8);
  const room = { codes: bytes(), scales: bytes(), zeroPoints: bytes(), begin: 0 };
  const rows = { data: input, rows: trialRows, cols, firstRow: 0, outFeatures: trialRows };
  const started = performance.now();
  const weight = { name, dtype, settings, layout, stride: 0, importance: null };
  await roundRows(weight, rows, room, { threads });
  return (performance.now() - started) / 1000 / (trialRows * cols);
}

function estimateMemory({ shards }: Plan, { memory, options }: CheckpointSettings): number {
  let buffers = 0;
  let fit = 0;
  for (const { units } of shards)
    for (const unit of units) {
      buffers = Math.max(buffers, memoryOf(unit));
      if (isLater(unit) || unit.kind !== 'fit') continue;
      const [rows, cols] = unit.weight.shape;
      // The Gram matrix as it is read, as it is kept, its factors.
      fit = Math.max(
        fit,
        rows * cols * fitBytes + 6 * 8 * cols * cols * Math.min(2, options.threads ?? availableProcessors()),
      );
    }
  return Math.min(memory, inFlight * buffers) + fit;
}
