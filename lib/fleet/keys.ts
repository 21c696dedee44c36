import type { Redis } from 'ioredis';

// What is kept of runs beside BullMQ's jobs, by queue: which there are, and whether one was cancelled.

/** Seconds for which a run is known. */
export const keptFor = 30 * 24 * 3600;
/** More are not shown. */
const mostRuns = 1000;

const listKey = (queue: string) => `vertexq-runs:${queue}`;
const runKey = (queue: string, run: string) => `vertexq-run:${queue}:${run}`;

/** What is known of a run besides its jobs. As it comes from Redis it is anyone's. */
export interface RunNote {
  plan: string;
  output: string;
  parts: number;
  priority: number;
  submitted: number;
  cancelled: boolean;
}

export async function noteRun(redis: Redis, queue: string, run: string, note: RunNote): Promise<void> {
  const { cancelled, ...fields } = note;
  const done = await redis
    .multi()
    .del(runKey(queue, run))
    .hset(runKey(queue, run), { ...fields, ...(cancelled && { cancelled: 1 }) })
    .expire(runKey(queue, run), keptFor)
    .zadd(listKey(queue), note.submitted, run)
    .zremrangebyscore(listKey(queue), '0', String(note.submitted - 1000 * keptFor))
    .exec();
  for (const [error] of done ?? []) if (error) throw error;
}

/** The runs of a queue, those submitted last first. */
export const runsOf = (redis: Redis, queue: string): Promise<string[]> =>
  redis.zrevrange(listKey(queue), 0, mostRuns - 1);

export async function noteOf(redis: Redis, queue: string, run: string): Promise<RunNote | undefined> {
  const found = await redis.hgetall(runKey(queue, run));
  if (found['plan'] === undefined) return undefined;
  const number = (name: string) => Number(found[name]) || 0;
  return {
    plan: found['plan'],
    output: found['output'] ?? '',
    parts: number('parts'),
    priority: number('priority'),
    submitted: Math.min(number('submitted'), 8.64e15),
    cancelled: found['cancelled'] === '1',
  };
}

export const isCancelled = async (redis: Redis, queue: string, run: string): Promise<boolean> =>
  (await redis.hget(runKey(queue, run), 'cancelled')) === '1';

export async function noteCancelled(redis: Redis, queue: string, run: string): Promise<void> {
  await redis.hset(runKey(queue, run), 'cancelled', '1');
}
