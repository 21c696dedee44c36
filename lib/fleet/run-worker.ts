import type { Worker } from 'bullmq';
import { setTimeout } from 'node:timers/promises';
import { Buffers } from '../native/buffers';
import { checkOptions } from '../options/table';
import { Engine } from './engine';
import type { doJob } from './do-job';
import { Ended } from './job-ends';
import { JobRunner } from './job-runner';
import type { Means } from './job-plan';
import { rootsOf } from './roots';
import { defaultQueue } from './submit-run';
import { Teller } from './teller';
import type { WorkerOptions, WorkerReport } from './types';

const [defaultMemory, leastMemory] = [768 * 2 ** 20, 128 * 2 ** 20];
const defaultStalledAfter = 30;
/** More often a job is not taken over from workers that have gone: it may be what ends them. */
const mostStalls = 20;
/** Milliseconds between looks whether queues are empty; and for which Redis may keep a worker from ending. */
const [emptyInterval, closePatience] = [500, 10_000];
/** Milliseconds that the last attempt to open a connection may take. */
const endPatience = 12_000;

/**
 * Does the parts of runs that `submitRun` has put into queues, until `drain` is aborted, or with `untilEmpty` until nothing is left. What a queue holds is read as hostile input: nothing is read or written
 * but in the folders of `root`, and what is for other versions, kernels or more memory is left to other workers. While Redis is away it goes on, and waits for it. Rejects with ERR_VERTEXQ_QUEUE where Redis cannot be used at the beginning.
 */
export async function runWorker(options: WorkerOptions): Promise<WorkerReport> {
  checkOptions('runWorker', options);
  if (options.root === undefined)
    throw new TypeError(
      'Expected the "root" option to be the path of a folder, or several: nothing else is touched',
    );
  const queues = [options.queue ?? defaultQueue].flat();
  const { concurrency = 1, threads, otherKernels = false, signal } = options;
  const atOnce = concurrency * queues.length;
  const memory = options.memory === undefined ? defaultMemory : Math.floor(options.memory / atOnce);
  if (memory < leastMemory)
    throw new RangeError(
      `Expected the "memory" option to be ${atOnce * leastMemory} or more, as ${atOnce} parts are done at once, not ${options.memory}`,
    );
  const roots = await rootsOf(options.root);
  const buffers = new Buffers();
  const means: Means = { roots, memory, otherKernels, buffers, ...(threads !== undefined && { threads }) };
  return Engine.with(options.redis, signal, (engine) =>
    new FleetWorker(engine, queues, means, options).run(),
  );
}

/** Takes jobs from queues and does them, as long as it is to. */
export class FleetWorker {
  private readonly teller: Teller;
  private readonly runner: JobRunner;
  private readonly ending = new AbortController();
  private readonly started = performance.now();

  constructor(
    private readonly engine: Engine,
    private readonly queues: readonly string[],
    means: Means,
    private readonly options: WorkerOptions,
    does?: typeof doJob,
  ) {
    this.teller = new Teller(options.onEvent, () => this.end('a callback has thrown'));
    this.runner = new JobRunner(engine, means, this.teller, this.ending.signal, options.signal, does);
  }

  async run(): Promise<WorkerReport> {
    const { drain, signal, untilEmpty } = this.options;
    const onDrain = () => this.end('the worker ends');
    this.teller.tell({ event: 'worker-started', message: `queues ${this.queues.join(', ')}` });
    const workers = this.queues.map((queue) => this.open(queue));
    try {
      for (const one of [drain, signal]) {
        one?.addEventListener('abort', onDrain);
        if (one?.aborted) onDrain();
      }
      if (untilEmpty) void this.watch();
      await new Promise<void>((resolve) => {
        if (this.ending.signal.aborted) resolve();
        else this.ending.signal.addEventListener('abort', () => resolve(), { once: true });
      });
    } finally {
      drain?.removeEventListener('abort', onDrain);
      signal?.removeEventListener('abort', onDrain);
      await this.close(workers);
    }
    const seconds = (performance.now() - this.started) / 1000;
    this.teller.tell({ event: 'worker-ended', seconds });
    signal?.throwIfAborted();
    this.teller.requireWell();
    return { worker: this.teller.worker, jobs: this.teller.jobs, seconds };
  }

  private end(message: string): void {
    if (this.ending.signal.aborted) return;
    this.teller.tell({ event: 'worker-draining', message });
    this.ending.abort(new Ended('drained', 'the worker that had it has ended'));
  }

  private open(queue: string): Worker {
    const { concurrency = 1, rate, stalledAfter = defaultStalledAfter } = this.options;
    const worker = new this.engine.bullmq.Worker(
      queue,
      async (job, token) => this.runner.run(queue, job, token ?? ''),
      this.engine.forWorkers({
        name: this.teller.worker,
        concurrency,
        lockDuration: 1000 * stalledAfter,
        stalledInterval: 500 * stalledAfter,
        maxStalledCount: mostStalls,
        runRetryDelay: 1000,
        ...(rate && { limiter: { max: rate.max, duration: 1000 * rate.seconds } }),
      }),
    );
    worker.on('error', (error) => this.teller.trouble(queue, this.engine.reason(error)));
    worker.on('stalled', (job) => this.teller.tell({ event: 'job-stalled', queue, job }));
    worker.on('lockRenewalFailed', (jobs) => jobs.forEach((job) => this.runner.lose(queue, job)));
    return worker;
  }

  /** Ends when there is nothing in the queues, and nothing that will be. */
  private async watch(): Promise<void> {
    while (!this.ending.signal.aborted) {
      const counts = await Promise.all(
        this.queues.map((queue) =>
          this.engine
            .queue(queue)
            .getJobCounts('wait', 'prioritized', 'delayed', 'active', 'waiting-children'),
        ),
      ).catch(() => undefined); // Redis is away
      const isEmpty = counts?.every((own) => Object.values(own).every((count) => count === 0));
      if (isEmpty) this.end('nothing is left');
      else await setTimeout(emptyInterval, undefined, { signal: this.ending.signal }).catch(() => {});
    }
  }

  /** Waits for what is on its way, but for a Redis that is away not long. */
  private async close(workers: readonly Worker[]): Promise<void> {
    const closed = Promise.allSettled(workers.map((worker) => worker.close())); // a worker tells what went wrong
    await this.runner.idle();
    await inTime(closed, closePatience);
    this.engine.endWorkers();
    await inTime(closed, endPatience);
  }
}

/** Waits for what may take too long. */
async function inTime(done: Promise<unknown>, milliseconds: number): Promise<void> {
  const end = new AbortController();
  await Promise.race([done, setTimeout(milliseconds, undefined, { signal: end.signal }).catch(() => {})]);
  end.abort();
}
