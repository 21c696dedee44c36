import type { Job } from 'bullmq';
import { VertexqError } from '../errors';
import { checkOptions } from '../options/table';
import { Engine } from './engine';
import { checkedJob } from './job-data';
import { layersOf } from './layers';
import { noteOf, type RunNote, runsOf } from './keys';
import { defaultQueue } from './submit-run';
import type { FleetStatus, Piece, QueueStatus, RunState, RunStatus, StatusOptions } from './types';

/** Jobs that are looked into: those that workers are at, and those that were refused. */
const mostActive = 1000;
const mostDelayed = 200;

/** How far the runs of queues are. Rejects with ERR_VERTEXQ_QUEUE where Redis cannot be used; with ERR_VERTEXQ_JOB where the run that is asked for is in none of them. */
export async function runStatus(options: StatusOptions = {}): Promise<FleetStatus> {
  checkOptions('runStatus', options);
  const names = [options.queue ?? defaultQueue].flat();
  return Engine.with(options.redis, options.signal, async (engine) => {
    const queues: QueueStatus[] = [];
    for (const queue of names) queues.push(await statusOf(engine, queue, options.run));
    if (options.run !== undefined && queues.every(({ runs }) => runs.length === 0))
      throw new VertexqError(
        'ERR_VERTEXQ_JOB',
        `There is no run ${options.run} in ${names.map((name) => `"${name}"`).join(', ')}`,
      );
    return { redis: engine.address.shown, queues };
  });
}

async function statusOf(engine: Engine, name: string, run: string | undefined): Promise<QueueStatus> {
  const queue = engine.queue(name);
  const counts = await queue.getJobCounts('wait', 'prioritized', 'delayed', 'active', 'failed');
  const active = byRun(await queue.getJobs(['active'], 0, mostActive - 1));
  const delayed = byRun(await queue.getJobs(['delayed'], 0, mostDelayed - 1));
  const runs: RunStatus[] = [];
  for (const own of run === undefined ? await runsOf(engine.redis, name) : [run]) {
    const note = await noteOf(engine.redis, name, own);
    if (note)
      runs.push(
        await statusOfRun(
          engine,
          name,
          own,
          note,
          active.get(own) ?? [],
          delayed.get(own) ?? [],
          run !== undefined,
        ),
      );
  }
  const of = (...types: string[]) => types.reduce((sum, type) => sum + (counts[type] ?? 0), 0);
  return {
    queue: name,
    workers: await queue.getWorkersCount(),
    jobs: {
      waiting: of('wait', 'prioritized'),
      delayed: of('delayed'),
      active: of('active'),
      failed: of('failed'),
    },
    runs,
  };
}

interface Found {
  job: Job;
  piece: Piece;
}

/** Jobs of this version, by their runs; others are no runs of ours. */
function byRun(jobs: readonly (Job | undefined)[]): Map<string, Found[]> {
  const runs = new Map<string, Found[]>();
  for (const job of jobs) {
    if (!job) continue;
    try {
      const { data, piece } = checkedJob('job', job.name, job.data);
      runs.set(data.run, [...(runs.get(data.run) ?? []), { job, piece }]);
    } catch {
      // The worker that takes it says what is wrong.
    }
  }
  return runs;
}

async function statusOfRun(
  engine: Engine,
  queue: string,
  run: string,
  note: RunNote,
  active: readonly Found[],
  delayed: readonly Found[],
  /** Whether it was asked for by its name. */
  alone: boolean,
): Promise<RunStatus> {
  const job = await engine.bullmq.Job.fromId(engine.queue(queue), run);
  const found = job ? await job.getState() : undefined;
  const done = job ? ((await job.getDependenciesCount({ processed: true })).processed ?? 0) : 0;
  const count = Math.max(1, note.parts);
  const parts = active.filter(({ piece }) => piece !== 'finish');
  const state = stateOf(found, parts.length + done > 0, note.cancelled);
  const share = parts.reduce((sum, { job: { progress } }) => sum + shareOf(progress), done) / count;
  const refused = delayed
    .map(({ job: { progress } }) => textOf(progress, 'refused'))
    .find((text) => text !== null);
  return {
    ...{ run, queue, state, plan: note.plan, output: note.output, priority: note.priority },
    submitted: new Date(note.submitted).toISOString(),
    parts: { count: note.parts, done, active: parts.length },
    progress: state === 'done' ? 1 : Math.min(1, share),
    active: active.map(({ job: { processedBy, progress }, piece }) => ({
      piece,
      worker: processedBy ?? null,
      progress: shareOf(progress),
      layer: textOf(progress, 'layer'),
    })),
    ...(alone && job && { layers: await layersOf(job) }),
    error: state === 'failed' && job ? await whyFailed(engine, queue, job) : null,
    refused: refused ?? null,
  };
}

function stateOf(found: string | undefined, begun: boolean, cancelled: boolean): RunState {
  if (found === 'completed') return 'done';
  if (cancelled) return 'cancelled';
  if (found === undefined || found === 'unknown') return 'lost';
  if (found === 'failed') return 'failed';
  if (found === 'waiting-children') return begun ? 'working' : 'waiting';
  return 'finishing';
}

/** Of a part that failed its reason, which the run's own only points to. */
async function whyFailed(engine: Engine, queue: string, job: Job): Promise<string> {
  const { failed = [] } = await job.getDependencies({ failed: { count: 1 } });
  const [key] = failed;
  const child = key === undefined ? undefined : key.slice(key.lastIndexOf(':') + 1);
  const part = child === undefined ? undefined : await engine.bullmq.Job.fromId(engine.queue(queue), child);
  return part?.failedReason ?? job.failedReason ?? 'for no reason that is told';
}

function shareOf(progress: unknown): number {
  const { share } = (progress ?? {}) as { share?: unknown };
  return typeof share === 'number' && share >= 0 && share <= 1 ? share : 0;
}

function textOf(progress: unknown, name: string): string | null {
  const text = ((progress ?? {}) as Record<string, unknown>)[name];
  return typeof text === 'string' ? text : null;
}
