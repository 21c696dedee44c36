import { lstat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { finishRun, removeLeft } from '../checkpoints/sharded/finish-run';
import { runShardWith } from '../checkpoints/sharded/run-shard';
import { relativeError } from '../relative-error';
import type { LayerSums, PlanFile } from '../checkpoints/sharded/types';
import { verifyCheckpoint } from '../checkpoints/verify-checkpoint';
import { isErrorCode, type VertexqErrorCode } from '../error-codes';
import { InputFile } from '../files/input-file';
import { RunFiles } from '../runs/run-files';
import type { Progress } from '../types';
import type { JobData } from './job-data';
import { type JobPlan, type Means, planOfJob, sha256Of } from './job-plan';
import type { Piece } from './types';

/** What a job leaves in the queue. */
export interface JobResult {
  /** Units done now, and found done. */
  units: { done: number; found: number };
  /** Of the input, read for the units done now. */
  bytes: number;
  seconds: number;
  warnings: string[];
  /** Those with the largest errors. */
  layers: LayerSums[];
}

/** What ends the work on a job early. */
export interface JobEnds {
  /** At once. */
  signal: AbortSignal;
  /** When the units on their way are kept. */
  drain: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Of what others have to be told more need not be. */
const mostWarnings = 20;
const mostLayers = 200;
const codeOf = (error: unknown): VertexqErrorCode | undefined => {
  const { code } = error as { code?: unknown };
  return isErrorCode(code) ? code : undefined;
};

/** Does a job, as `runShard` and `finishRun` do; done again it finds what was done. Rejects as `planOfJob` and these do. */
export async function doJob(data: JobData, piece: Piece, means: Means, ends: JobEnds): Promise<JobResult> {
  const started = performance.now();
  const found = await planOfJob(data, means);
  const work = piece === 'finish' ? finish : part;
  const result = await work(found, piece, means, ends).catch(async (error: unknown) => {
    // Who did it before was ended before he could say so.
    const isDone =
      codeOf(error) === 'ERR_VERTEXQ_EXISTS' && (await isOutputOf(found, piece === 'finish', ends));
    if (!isDone) throw error;
    await removeLeft(found.plan, found.output);
    return { ...nothing, warnings: [] };
  });
  // Where it was slower than one that had taken it over, and the end of the run.
  if (piece !== 'finish' && (await isOutputOf(found, false, ends)))
    await removeLeft(found.plan, found.output);
  return {
    ...result,
    warnings: result.warnings.slice(0, mostWarnings),
    layers: worstOf(result.layers),
    seconds: (performance.now() - started) / 1000,
  };
}

type Done = Omit<JobResult, 'seconds'>;

const nothing = { units: { done: 0, found: 0 }, bytes: 0, layers: [] };

/** The layers with the largest errors, in their order. */
function worstOf(layers: LayerSums[]): LayerSums[] {
  if (layers.length <= mostLayers) return layers;
  const least = layers.map(relativeError).sort((a, b) => b - a)[mostLayers - 1]!;
  return layers.filter((layer) => relativeError(layer) >= least).slice(0, mostLayers);
}

const optionsFor = ({ input, output }: JobPlan, { memory, threads, otherKernels }: Means) => ({
  ...{ input, output, memory, otherKernels },
  ...(threads !== undefined && { threads }),
});

async function part(found: JobPlan, piece: Piece, means: Means, ends: JobEnds): Promise<Done> {
  const own = piece === 'finish' ? {} : { shard: piece };
  const options = { ...optionsFor(found, means), ...own, ...ends };
  return runShardWith(new RunFiles(), found.plan, options, means.buffers);
}

async function finish(found: JobPlan, piece: Piece, means: Means, ends: JobEnds): Promise<Done> {
  const { drain, onProgress } = ends;
  const signal = AbortSignal.any([ends.signal, drain]);
  const put = async (done?: Done): Promise<Done> => {
    const { warnings } = await finishRun(found.plan, { ...optionsFor(found, means), signal, onProgress });
    return { ...nothing, ...done, warnings };
  };
  return put().catch(async (error: unknown) => {
    if (codeOf(error) !== 'ERR_VERTEXQ_INCOMPLETE') throw error;
    // Results that were there are lost or damaged: they are made anew.
    return put(await part(found, piece, means, ends));
  });
}

/** Whether what is there under the output's name is what the plan is for, as far as names, sizes and documents tell; `verified`: and what reading it back shows. */
async function isOutputOf(
  { plan, input, output }: JobPlan,
  verified: boolean,
  { signal }: JobEnds,
): Promise<boolean> {
  const there = await lstat(output).catch(() => undefined);
  const folder = there?.isDirectory() ? output : dirname(output);
  for (const file of plan.files) if (!(await isThere(folder, file))) return false;
  if (!verified) return true;
  const first = there?.isDirectory() ? output : join(folder, plan.files[0]!.name);
  const { faults } = await verifyCheckpoint(first, input, { signal });
  return faults.length === 0;
}

async function isThere(
  folder: string,
  { name, bytes, made, sha256 }: PlanFile['files'][number],
): Promise<boolean> {
  const path = join(folder, name);
  const found = await lstat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== bytes) return false;
  if (made !== 'written') return true;
  const own = await InputFile.with(path, (file) => file.read(0, file.size), { followLinks: false });
  return sha256Of(own) === sha256;
}
