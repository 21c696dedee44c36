import { createHash } from 'node:crypto';
import { dataPaths } from '../checkpoints/sharded/plan-file';
import { parsePlan, planBytes } from '../checkpoints/sharded/read-plan';
import type { PlanFile } from '../checkpoints/sharded/types';
import { kernels } from '../environment';
import { VertexqError } from '../errors';
import type { Buffers } from '../native/buffers';
import { describe } from '../options/messages';
import { formatBytes } from '../reports/units';
import { version } from '../version';
import { type JobData, runIdOf } from './job-data';
import { placeWithinRoots, Refusal, withinRoots } from './roots';

/** How a worker works. */
export interface Means {
  /** Real paths. */
  roots: readonly string[];
  /** Bytes for one piece of work. */
  memory: number;
  threads?: number;
  otherKernels: boolean;
  /** What one piece of work has needed, the next need not take from the system again. */
  buffers: Buffers;
}

/** A plan that a job is about, and where its input and output really are. */
export interface JobPlan {
  plan: PlanFile;
  input: string;
  output: string;
}

export const sha256Of = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/**
 * The plan of a job, as far as this worker may work on it: rejects with a Refusal where others have to, which says by name what it lacks; with
 * ERR_VERTEXQ_JOB and ERR_VERTEXQ_PLAN where nobody can.
 */
export async function planOfJob(job: JobData, means: Means): Promise<JobPlan> {
  requireKind(job, means.otherKernels);
  const { roots } = means;
  const path = await withinRoots(job.plan, 'the plan', roots);
  const bytes = await planBytes(path);
  if (sha256Of(bytes) !== job.sha256)
    throw new VertexqError(
      'ERR_VERTEXQ_JOB',
      `${path} is not the plan that was submitted: it has been written since. Submit it anew`,
    );
  const plan = parsePlan(path, bytes);
  if (runIdOf(plan.id) !== job.run)
    throw new VertexqError('ERR_VERTEXQ_JOB', `${path} is the plan of another run than ${job.run}`);
  const input = await withinRoots(plan.input, 'the input', roots);
  const output = await placeWithinRoots(plan.output, 'the output', roots);
  for (const data of dataPaths(plan.options)) await withinRoots(data, 'the data', roots);
  const need = memoryOf(plan);
  if (need > means.memory)
    throw new Refusal(
      `it needs ${formatBytes(need)} of memory, and this worker has ${formatBytes(means.memory)} for it (--memory)`,
    );
  return { plan, input, output };
}

/** Throws a Refusal where this worker is of another version, or computes otherwise. */
function requireKind(job: JobData, otherKernels: boolean): void {
  if (job.vertexq !== version)
    throw new Refusal(`it is for vertexq ${describe(job.vertexq)}, and this worker is ${version}`);
  const own = kernels();
  const { blas, simd } = job.kernels;
  if (!otherKernels && (blas !== own.blas || simd !== own.simd))
    throw new Refusal(
      `it is for kernels of ${describe(blas)} and ${describe(simd)}, and this worker has ${own.blas} and ${own.simd}`,
    );
}

/** Bytes that its largest piece of work takes, as far as the plan tells. */
function memoryOf({ units, summary }: PlanFile): number {
  const buffers = units.reduce((most, { memory }) => Math.max(most, Number(memory) || 0), 0);
  const fits = units.some(({ kind }) => kind === 'fit');
  return Math.max(buffers, fits ? Number((summary as { memory?: unknown } | undefined)?.memory) || 0 : 0);
}
