import type {
  CancelOptions,
  ServeOptions,
  StatusOptions,
  SubmitOptions,
  WorkerOptions,
} from '../fleet/types';
import * as dataKinds from './data-kinds';
import * as kinds from './kinds';
import type { Kind, Options } from './kinds';
import { describe } from './messages';
import { checkpointMemory } from './planned-rows';

// Options of runs through a queue, and what its jobs hold.

/** More parts than machines is well, more than this only makes work. */
export const mostParts = 10_000;
const mostAttempts = 100;
const mostSeconds = 24 * 3600;
const mostAtOnce = 64;

const name = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** The name of a queue. */
export const forName: Kind = {
  what: 'the name of a queue: up to 64 letters, digits, ".", "_" and "-"',
  check: (option, value) => {
    if (typeof value !== 'string' || !name.test(value))
      throw new RangeError(
        `Expected the "${option}" option to be the name of a queue, up to 64 letters, digits, ".", "_" and "-", not ${describe(value)}`,
      );
  },
  argument: '<name>',
};

const forNames: Kind = {
  what: `${forName.what}; or several`,
  check: (option, value) => {
    const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
    if (list.length === 0) throw new RangeError(`The "${option}" option is empty: name a queue`);
    for (const item of list) forName.check(option, item);
    if (new Set(list).size < list.length)
      throw new RangeError(`The "${option}" option has a queue twice: each is worked on once`);
  },
  argument: '<name...>',
};

export const partsKind = kinds.integer(1, mostParts);

/** Hexadecimal digits. */
export const digest = (length: number): Kind => ({
  what: `${length} hexadecimal digits`,
  check: (option, value) => {
    if (typeof value !== 'string' || value.length !== length || !/^[0-9a-f]*$/.test(value))
      throw new RangeError(
        `Expected the "${option}" option to be ${length} hexadecimal digits, not ${describe(value)}`,
      );
  },
  argument: '<id>',
});

const pace = { max: { kind: kinds.integer(1, 1_000_000) }, seconds: { kind: kinds.integer(1, mostSeconds) } };
const rate: Kind = {
  ...kinds.object(pace, 'rate option'),
  check: (option, value) => {
    kinds.object(pace, 'rate option').check(option, value);
    const { max, seconds } = value as { max?: number; seconds?: number };
    if (max === undefined || seconds === undefined)
      throw new TypeError(`Expected the "${option}" option to have both "max" and "seconds"`);
  },
  argument: '<n/seconds>',
  parse: (text) => {
    const [, max, seconds] = /^(\d{1,7})\/(\d{1,5})$/.exec(text) ?? [];
    kinds.parsed(max !== undefined, 'n/seconds, such as 10/60', null);
    return { max: Number(max), seconds: Number(seconds) };
  },
};

const redis = {
  redis: {
    kind: kinds.text('the URL of a Redis server', '<url>'),
    help: 'redis://host:6379, or rediss://… with TLS; with a password in VERTEXQ_REDIS_PASSWORD (default: VERTEXQ_REDIS_URL, or redis://127.0.0.1:6379)',
    group: 'Queue',
  },
  signal: { kind: kinds.abortSignal },
} satisfies Options<Pick<SubmitOptions, 'redis' | 'signal'>>;

const queue = { kind: forName, help: 'the name of the queue (default: vertexq)', group: 'Queue' } as const;
const queues = {
  kind: forNames,
  help: 'names of queues, one or several (default: vertexq)',
  group: 'Queue',
} as const;

export const submitted = {
  ...redis,
  queue,
  parts: {
    kind: partsKind,
    help: 'parts that workers take one by one (default: one for each 512 MiB of the input)',
    group: 'Running',
  },
  priority: {
    kind: kinds.integer(-1000, 1000),
    help: 'from -1000 to 1000: of what waits, the higher goes first (default: 0)',
    group: 'Running',
  },
  attempts: {
    kind: kinds.integer(1, mostAttempts),
    help: 'how often a part is tried before the run fails, with pauses that grow (default: 5)',
    group: 'Running',
  },
} satisfies Options<SubmitOptions>;

export const worked = {
  ...redis,
  queue: queues,
  root: {
    kind: { ...dataKinds.paths('the path of a folder'), argument: '<folder...>' },
    help: 'folders in which plans, inputs and outputs may lie; what lies elsewhere is refused',
    group: 'Running',
    required: true,
  },
  concurrency: {
    kind: kinds.integer(1, mostAtOnce),
    help: 'parts of each queue at once (default: 1, which uses all threads)',
    group: 'Running',
  },
  rate: {
    kind: rate,
    help: 'as 10/60: parts that all workers of a queue begin within so many seconds at most; give all of them the same',
    group: 'Running',
  },
  stalledAfter: {
    kind: kinds.integer(1, mostSeconds),
    help: 'seconds of silence after which the part of a worker is given to another (default: 30)',
    group: 'Running',
  },
  untilEmpty: { kind: kinds.flag, help: 'end when nothing is left in the queues', group: 'Running' },
  memory: {
    kind: checkpointMemory,
    help: 'as 768M or 2G: buffers, of all parts at once; what needs more is left to others (default: 768M each)',
    group: 'Other',
  },
  threads: {
    kind: kinds.integer(1),
    help: 'threads for the numerical work (default: all cores)',
    group: 'Other',
  },
  otherKernels: {
    kind: kinds.flag,
    help: 'take plans for another kind of processor too; the bytes may then be those of neither',
    group: 'Other',
  },
  drain: { kind: kinds.abortSignal },
  onEvent: { kind: kinds.callback },
} satisfies Options<WorkerOptions>;

export const runKind = digest(32);
export const asked = {
  ...redis,
  queue: queues,
  run: { kind: runKind, help: 'this run alone', group: 'Running' },
} satisfies Options<StatusOptions>;

export const served = {
  ...redis,
  queue: queues,
  host: {
    kind: kinds.text('the name or address of a network interface', '<address>'),
    help: 'where it listens (default: 127.0.0.1, which this machine alone can reach; 0.0.0.0: everyone)',
    group: 'Running',
  },
  port: {
    kind: kinds.integer(0, 65_535),
    help: 'the port it listens at; 0 takes one that is free (default: 9465)',
    group: 'Running',
  },
} satisfies Options<ServeOptions>;

export const cancelled = { ...redis, queue } satisfies Options<CancelOptions>;

const texts = (what: string) => kinds.text(what, '');

/** What a job holds. */
export const job = {
  schemaVersion: { kind: kinds.integer(1, 1) },
  vertexq: { kind: texts('a version') },
  kernels: {
    kind: kinds.object(
      { blas: { kind: texts('a text') }, simd: { kind: texts('a text') } },
      'member of kernels',
    ),
  },
  plan: { kind: texts('a path') },
  sha256: { kind: digest(64) },
  run: { kind: runKind },
  shard: {
    kind: kinds.object({ index: { kind: kinds.integer(0) }, count: { kind: partsKind } }, 'member of shard'),
  },
} as const;
