import { VertexqError } from '../errors';
import { about, requirePath } from '../options/messages';
import { runKind } from '../options/fleet-rows';
import { checkOptions } from '../options/table';
import { Engine } from './engine';
import { noteCancelled, noteOf } from './keys';
import { defaultQueue } from './submit-run';
import type { CancelOptions } from './types';

/**
 * Takes a run out of its queue: parts that wait are not begun, workers end those that they are at within seconds. Results that are there stay, for the plan to be submitted again. Rejects with ERR_VERTEXQ_JOB where
 * there is no such run, or it is done; ERR_VERTEXQ_QUEUE where Redis cannot be used.
 */
export async function cancelRun(run: string, options: CancelOptions = {}): Promise<void> {
  requirePath('run', run, 'the id of a run, as "vertexq status" tells it');
  checkOptions('cancelRun', options);
  about(['run'], () => runKind.check('run', run));
  const { queue = defaultQueue } = options;
  await Engine.with(options.redis, options.signal, async (engine) => {
    const job = await engine.bullmq.Job.fromId(engine.queue(queue), run);
    const note = await noteOf(engine.redis, queue, run);
    if (!job && !note)
      throw new VertexqError('ERR_VERTEXQ_JOB', `There is no run ${run} in the queue "${queue}"`);
    if (job && (await job.isCompleted()))
      throw new VertexqError('ERR_VERTEXQ_JOB', `The run ${run} of the queue "${queue}" is done`);
    // First: a worker that takes a part of it meanwhile sees that it is not to be done.
    await noteCancelled(engine.redis, queue, run);
    if (!job) return;
    // A worker that is at a part holds it; that worker ends it, with which the run fails.
    await job.removeUnprocessedChildren();
    await engine
      .queue(queue)
      .remove(run, { removeChildren: true })
      .catch(() => {});
  });
}
