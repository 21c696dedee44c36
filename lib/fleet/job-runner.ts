import { span } from '../spans';
import type { Progress } from '../types';
import { doJob, type JobResult } from './do-job';
import type { Engine, EngineJob } from './engine';
import { checkedJob, pieceName } from './job-data';
import { Ended, type Fate, fateOf } from './job-ends';
import type { Means } from './job-plan';
import { isCancelled } from './keys';
import type { Teller } from './teller';
import type { FleetEvent, Piece } from './types';

/** Milliseconds between two looks whether a run was cancelled, and between two notes of how far a job is. */
const [cancelInterval, progressInterval] = [2_000, 1_000];

/** Does jobs as BullMQ hands them out, and says what becomes of them. */
export class JobRunner {
  private readonly ends = new Map<string, AbortController>();
  private readonly going = new Set<Promise<unknown>>();

  /** `drain`: of the worker. `signal`: ends all at once. */
  constructor(
    private readonly engine: Engine,
    private readonly means: Means,
    private readonly teller: Teller,
    private readonly drain: AbortSignal,
    private readonly signal: AbortSignal | undefined,
    /** How a job is done: benchmarks do otherwise. */
    private readonly does: typeof doJob = doJob,
  ) {}

  /** Resolves to what the queue keeps of a job; rejects as BullMQ wants it told. */
  async run(queue: string, job: EngineJob, token: string): Promise<JobResult> {
    const done = this.work(queue, job, token);
    this.going.add(done);
    try {
      return await done;
    } finally {
      this.going.delete(done);
    }
  }

  /** Resolves when nothing is being done. */
  async idle(): Promise<void> {
    while (this.going.size > 0) await Promise.allSettled(this.going);
  }

  /** Ends the work on a job that was given to another worker, as this one was not heard of. */
  lose(queue: string, job: string): void {
    this.ends.get(`${queue} ${job}`)?.abort(new Ended('lost', 'the queue has given it to another worker'));
  }

  private async work(queue: string, job: EngineJob, token: string): Promise<JobResult> {
    const { UnrecoverableError } = this.engine.bullmq;
    const id = String(job.id);
    let about: Pick<FleetEvent, 'queue' | 'job' | 'run' | 'piece'> = { queue, job: id };
    let found: ReturnType<typeof checkedJob>;
    try {
      found = checkedJob(
        `job ${JSON.stringify(id.slice(0, 80))} of the queue "${queue}"`,
        job.name,
        job.data,
      );
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      this.teller.tell({ ...about, event: 'job-failed', message, ...(code && { code }), final: true });
      throw new UnrecoverableError(message);
    }
    const { data, piece } = found;
    about = { ...about, run: data.run, piece };
    this.teller.tell({ ...about, event: 'job-started' });
    const end = new AbortController();
    const key = `${queue} ${id}`;
    this.ends.set(key, end);
    const look = async () => {
      if (await isCancelled(this.engine.redis, queue, data.run))
        end.abort(new Ended('cancelled', 'the run was cancelled'));
    };
    const watch = setInterval(() => void look().catch(() => {}), cancelInterval); // Redis is away
    try {
      await look().catch(() => {});
      end.signal.throwIfAborted();
      const signal = this.signal ? AbortSignal.any([end.signal, this.signal]) : end.signal;
      const onProgress = this.progressOf(job, about);
      const ends = { signal, drain: this.drain, onProgress };
      const told = { 'vertexq.queue': queue, 'vertexq.run': data.run, 'vertexq.piece': pieceName(piece) };
      const result = await span('vertexq.job', told, () => this.does(data, piece, this.means, ends));
      const { seconds, bytes, units } = result;
      this.teller.tell({ ...about, event: 'job-done', seconds, bytes, units });
      return result;
    } catch (error) {
      const ended: unknown = [end.signal, this.drain].find(({ aborted }) => aborted)?.reason;
      throw await this.told(job, token, piece, about, fateOf(error, job.attemptsStarted, ended));
    } finally {
      clearInterval(watch);
      this.ends.delete(key);
    }
  }

  /** Notes in the queue how far a job is, now and then. */
  private progressOf(job: EngineJob, about: Partial<FleetEvent>): (progress: Progress) => void {
    let last = performance.now();
    return ({ done, total, share, layer }) => {
      const now = performance.now();
      if (now - last < progressInterval || !(total > 0)) return;
      last = now;
      this.teller.tell({ ...about, event: 'job-progress', done, total });
      job
        .updateProgress({ share: share ?? done / total, ...(layer !== undefined && { layer }) })
        .catch(() => {}); // the next one may come through
    };
  }

  /** Does to a job what is to become of it. Resolves to what to throw for BullMQ. */
  private async told(
    job: EngineJob,
    token: string,
    piece: Piece,
    about: Partial<FleetEvent>,
    fate: Fate,
  ): Promise<Error> {
    const { UnrecoverableError, DelayedError, WaitingError } = this.engine.bullmq;
    const { message } = fate;
    if (fate.kind === 'failed' || fate.kind === 'hopeless') {
      const { code } = fate;
      const text = `${pieceName(piece)}: ${message}${code === undefined ? '' : ` [${code}]`}`;
      const final = fate.kind === 'hopeless' || job.attemptsMade + 1 >= (job.opts.attempts ?? 1);
      this.teller.tell({ ...about, event: 'job-failed', message, ...(code && { code }), final });
      return fate.kind === 'hopeless' ? new UnrecoverableError(text) : new Error(text);
    }
    try {
      if (fate.kind === 'returned') {
        await job.moveToWait(token);
        this.teller.tell({ ...about, event: 'job-returned', message });
        return new WaitingError();
      }
      await job.updateProgress({ refused: message });
      await job.moveToDelayed(Date.now() + fate.pause, token);
      this.teller.tell({ ...about, event: 'job-refused', message });
      return new DelayedError();
    } catch (error) {
      // It is no longer this worker's, or Redis is away: then another takes it over in a while.
      this.teller.trouble(String(about.queue), this.engine.reason(error));
      return new WaitingError();
    }
  }
}
