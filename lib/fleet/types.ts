import type { ShardOfPlan } from '../checkpoints/sharded/types';

/** Where the queue is. */
export interface QueueOptions {
  /** The URL of a Redis server, `redis://` or with TLS `rediss://`; default: VERTEXQ_REDIS_URL, or one on this machine. Its password may be in VERTEXQ_REDIS_PASSWORD. */
  redis?: string;
  signal?: AbortSignal;
}

/** Options of `submitRun`. */
export interface SubmitOptions extends QueueOptions {
  /** The name of the queue (default `vertexq`). */
  queue?: string;
  /** Into how many parts the units are cut (default: one for each 512 MiB of the input). */
  parts?: number;
  /** From −1000 to 1000 (default 0): of what waits, the higher goes first. */
  priority?: number;
  /** How often a part is tried before its run fails (default 5), with pauses that grow. */
  attempts?: number;
}

/** At most `max` parts are begun within so many seconds, by all workers of a queue. */
export interface Rate {
  /** How many parts. */
  max: number;
  /** In how long. */
  seconds: number;
}

/** Options of `runWorker`. */
export interface WorkerOptions extends QueueOptions {
  /** Folders in which plans, inputs and outputs may lie: others are refused. */
  root: string | readonly string[];
  /** Names of queues (default `vertexq`). */
  queue?: string | readonly string[];
  /** Bytes for all parts that are done at once (default 768 MiB each). What needs more is left to other workers. */
  memory?: number;
  /** For the numerical work (default: all cores). */
  threads?: number;
  /** How many parts of each queue are done at once (default 1). */
  concurrency?: number;
  /** Of all workers of a queue, which should all give the same. */
  rate?: Rate;
  /** Seconds after which what a silent worker has taken is given to another (default 30). */
  stalledAfter?: number;
  /** Whether to take plans for other kernels of the CPU; the bytes may then be those of neither. */
  otherKernels?: boolean;
  /** Ends when nothing is left in the queues; else it waits for more. */
  untilEmpty?: boolean;
  /** Aborted, it takes no more, finishes the units on their way, gives the rest back and resolves. */
  drain?: AbortSignal;
  /** Called with all that happens. What it throws ends the worker. */
  onEvent?: (event: FleetEvent) => void;
}

/** What a worker did while it ran. */
export interface WorkerReport {
  /** Its host and process. */
  worker: string;
  /** Parts and assemblies. */
  jobs: { done: number; failed: number; refused: number; returned: number };
  /** For how long it ran. */
  seconds: number;
}

/** A piece of a run: one of its parts, or the putting together. */
export type Piece = 'finish' | ShardOfPlan;

/** What a worker tells of its work. */
export interface FleetEvent {
  /** As ISO 8601. */
  time: string;
  /** What has happened. */
  event:
    | 'worker-started'
    | 'worker-draining'
    | 'worker-ended'
    /** A job was taken, has come further, and what became of it. */
    | 'job-started'
    | 'job-progress'
    | 'job-done'
    /** It will be tried again, unless `final`. */
    | 'job-failed'
    /** It is not for this worker, and was left to others. */
    | 'job-refused'
    /** It was given back, as the worker ends. */
    | 'job-returned'
    /** A worker had not been heard of, and its job was given to another. */
    | 'job-stalled'
    /** Redis cannot be reached, or refuses what is asked. */
    | 'queue-error';
  /** The worker's host and process. */
  worker: string;
  /** The queue that it is about. */
  queue?: string;
  /** The run, of what is about a job. */
  run?: string;
  /** The id of the job in the queue. */
  job?: string;
  /** Which piece of the run the job is. */
  piece?: Piece;
  /** Where the run's output goes. */
  output?: string;
  /** Of progress, how much of `total` is done. */
  done?: number;
  /** Of progress, how much there is to do. */
  total?: number;
  /** How long a job, or the worker, took. */
  seconds?: number;
  /** Bytes of the input that were read, and units done now and before. */
  bytes?: number;
  /** Of a job that is done. */
  units?: { done: number; found: number };
  /** Why, for people. */
  message?: string;
  /** The code of the error, where it has one. */
  code?: string;
  /** Whether a job that failed is not tried again. */
  final?: boolean;
}

/** Options of `runStatus`. */
export interface StatusOptions extends QueueOptions {
  /** Names of queues (default `vertexq`). */
  queue?: string | readonly string[];
  /** Of this run alone. */
  run?: string;
}

/** How far a run is. */
export type RunState = 'waiting' | 'working' | 'finishing' | 'done' | 'failed' | 'cancelled' | 'lost';

/** What has become of a layer so far. */
export interface LayerStatus {
  /** The layer's. */
  name: string;
  /** Of its weights, relative to them, of the rows that are done; of a layer that was fitted to data, of its outputs. */
  error: number;
  /** Whether it was fitted to data. */
  isFitted: boolean;
}

/** How far a run is. */
export interface RunStatus {
  /** By which it is cancelled: the first 32 digits of its plan's id. */
  run: string;
  /** The queue that it is in. */
  queue: string;
  /** `finishing`: its parts are done, and the output is put together; `lost`: its jobs are not in the queue. */
  state: RunState;
  /** The plan's file, where it was submitted. */
  plan: string;
  /** Where its output goes. */
  output: string;
  /** From −1000 to 1000. */
  priority: number;
  /** As ISO 8601. */
  submitted: string;
  /** How many there are, are done, and are being done. */
  parts: { count: number; done: number; active: number };
  /** From 0 to 1. */
  progress: number;
  /** Who is at it. */
  active: { piece: Piece; worker: string | null; progress: number; layer: string | null }[];
  /** Where one run was asked for: the layers that are done, largest errors first; of each part its 200 worst at most. */
  layers?: LayerStatus[];
  /** Why it failed; and why a worker has left a part to others, where it is still left. */
  error: string | null;
  /** Why a worker has left a part to others, where it is still left. */
  refused: string | null;
}

/** A queue: its workers and its runs. */
export interface QueueStatus {
  /** Its name. */
  queue: string;
  /** How many are connected. */
  workers: number;
  /** Pieces of work: those that wait, those after an error or a refusal, and those that are being done. */
  jobs: { waiting: number; delayed: number; active: number; failed: number };
  /** Those submitted last first. */
  runs: RunStatus[];
}

/** What `runStatus` finds: the queues that it was asked for. */
export interface FleetStatus {
  /** Without password. */
  redis: string;
  /** In the order in which they were asked for. */
  queues: QueueStatus[];
}

/** Options of `serveFleet`. */
export interface ServeOptions extends QueueOptions {
  /** Names of queues (default `vertexq`). */
  queue?: string | readonly string[];
  /** Where it listens (default `127.0.0.1`: this machine alone can look). */
  host?: string;
  /** 0: one that is free (default 9465). */
  port?: number;
}

/** A page of queues that is being served. */
export interface FleetPage {
  /** Where it is looked at. */
  url: string;
  /** Ends it. */
  close(): void;
}

/** Options of `cancelRun`. */
export interface CancelOptions extends QueueOptions {
  /** The name of the queue (default `vertexq`). */
  queue?: string;
}

/** What `submitRun` has put into the queue. */
export interface Submitted {
  /** By which its status is asked for, and it is cancelled. */
  run: string;
  /** The queue that it is in. */
  queue: string;
  /** Besides the end, which puts the output together. */
  parts: number;
  /** Whether it was in the queue already, and was left so. */
  found: boolean;
}
