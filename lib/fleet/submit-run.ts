import { realpath } from 'node:fs/promises';
import { parsePlan, planBytes } from '../checkpoints/sharded/read-plan';
import type { PlanFile, ShardOfPlan } from '../checkpoints/sharded/types';
import { VertexqError } from '../errors';
import { requirePath } from '../options/messages';
import { checkOptions } from '../options/table';
import { Engine } from './engine';
import { type JobData, jobNames, partIdOf, runIdOf } from './job-data';
import { sha256Of } from './job-plan';
import { keptFor, noteRun } from './keys';
import type { SubmitOptions, Submitted } from './types';

/** Bytes of the input in a part: seconds to minutes of work, so that little is lost with a worker, and little time is spent on taking parts. */
const bytesOfPart = 512 * 2 ** 20;
const mostParts = 1000;

/** Milliseconds before a part is tried again the first time; each further pause is twice as long. */
const backoff = { type: 'exponential', delay: 2_000, jitter: 0.2 } as const;

export const defaultQueue = 'vertexq';

/**
 * Puts the work on a plan file (`vertexq plan`) into a queue, for `runWorker`: a job for each of its parts, and one that puts the output together when all are done. A plan that is in
 * the queue already, and has not failed, is left there. Rejects with ERR_VERTEXQ_QUEUE where Redis cannot be used, ERR_VERTEXQ_PLAN where the file is no plan of this version.
 */
export async function submitRun(plan: string, options: SubmitOptions = {}): Promise<Submitted> {
  requirePath('plan', plan, 'the path of a plan file');
  checkOptions('submitRun', options);
  const bytes = await planBytes(plan);
  const found = parsePlan(plan, bytes);
  const { queue = defaultQueue, priority = 0 } = options;
  const count = options.parts ?? partsFor(found);
  const run = runIdOf(found.id);
  const data: JobData = {
    schemaVersion: 1,
    vertexq: found.vertexq,
    kernels: { blas: found.kernels.blas, simd: found.kernels.simd },
    plan: await realpath(plan),
    sha256: sha256Of(bytes),
    run,
  };
  return Engine.with(options.redis, options.signal, async (engine) => {
    const before = await engine.bullmq.Job.fromId(engine.queue(queue), run);
    if (before) {
      const state = await before.getState();
      if (state !== 'failed' && state !== 'completed') return { run, queue, parts: count, found: true };
      await removeRun(engine, queue, run);
    }
    const note = { plan: data.plan, output: found.output, parts: count, priority, submitted: Date.now() };
    await noteRun(engine.redis, queue, run, { ...note, cancelled: false });
    await addFlow(engine, queue, data, count, options);
    return { run, queue, parts: count, found: false };
  });
}

function partsFor({ units, options }: PlanFile): number {
  // They wait for each other, and each is for one worker.
  if (options['calibration'] !== undefined)
    return Math.max(1, Math.min(Number(options['parts']) || 1, mostParts));
  const own = units.filter(({ kind }) => kind !== 'copy');
  const total = own.reduce((sum, { reads }) => sum + (Number(reads) || 0), 0);
  return Math.max(1, Math.min(Math.ceil(total / bytesOfPart), own.length, mostParts));
}

async function addFlow(
  { bullmq, shared }: Engine,
  queue: string,
  data: JobData,
  count: number,
  { priority = 0, attempts = 5 }: SubmitOptions,
): Promise<void> {
  // BullMQ's lower numbers go first. What ends a run goes before the parts of others: then its results take no more room.
  const rank = 2 * (1001 - priority);
  const kept = { age: keptFor };
  const options = { attempts, backoff, removeOnFail: kept, stackTraceLimit: 1 };
  const part = (shard: ShardOfPlan) => ({
    name: jobNames.part,
    queueName: queue,
    data: { ...data, shard } satisfies JobData,
    opts: {
      ...options,
      jobId: partIdOf(data.run, shard),
      priority: rank,
      failParentOnFailure: true,
      removeOnComplete: true,
    },
  });
  const flow = new bullmq.FlowProducer(shared);
  flow.on('error', () => {}); // what is asked of it rejects
  try {
    await flow.add({
      name: jobNames.finish,
      queueName: queue,
      data,
      opts: { ...options, jobId: data.run, priority: rank - 1, removeOnComplete: kept },
      children: Array.from({ length: count }, (_, index) => part({ index, count })),
    });
  } finally {
    await flow.close();
  }
}

/** Takes a run's jobs out of a queue. Rejects with ERR_VERTEXQ_JOB where workers are at some of them. */
export async function removeRun(engine: Engine, queue: string, run: string): Promise<void> {
  try {
    await engine.queue(queue).remove(run, { removeChildren: true });
  } catch (error) {
    throw new VertexqError(
      'ERR_VERTEXQ_JOB',
      `The run ${run} cannot be taken out of the queue "${queue}", as workers are still at it: try again when they have ended (${engine.reason(error)})`,
    );
  }
}
