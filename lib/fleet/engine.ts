import type * as BullMQ from 'bullmq';
import type * as IORedis from 'ioredis';
import { VertexqError } from '../errors';
import { optionalPackage } from '../optional-package';
import { type Address, addressOf, withoutSecrets } from './address';

/** What users install: the versions that this one is tested with. */
const packages = { bullmq: 'bullmq@6.7.0', ioredis: 'ioredis@6.0.0' };
const install = Object.values(packages).join(' ');

/** Before the names of all keys. */
export const prefix = 'vertexq';

/** Milliseconds: of one attempt to connect, and of one answer where nobody waits for work. */
const [connectTimeout, commandTimeout] = [5_000, 20_000];
/** Further attempts of a command that is to end soon. */
const attempts = 3;

export type EngineJob = BullMQ.Job<unknown, unknown>;

/** A connection to Redis, and BullMQ upon it. */
export class Engine {
  private readonly queues = new Map<string, BullMQ.Queue>();
  /** Connections of workers. */
  private readonly clients: IORedis.Redis[] = [];
  private isEnding = false;

  private constructor(
    readonly bullmq: typeof BullMQ,
    readonly redis: IORedis.Redis,
    readonly address: Address,
    private readonly client: typeof IORedis.Redis,
    /** Whether a server that is away is waited for. */
    private readonly waits: { long: boolean },
  ) {}

  /** Runs `use` with a connection. Rejects with ERR_VERTEXQ_QUEUE where there is none, or what is asked is refused. */
  static async with<Result>(
    given: string | undefined,
    signal: AbortSignal | undefined,
    use: (engine: Engine) => Promise<Result>,
  ): Promise<Result> {
    signal?.throwIfAborted();
    const address = addressOf(given, process.env);
    const load = (name: keyof typeof packages) =>
      optionalPackage(name, 'ERR_VERTEXQ_QUEUE', 'A queue in Redis', install);
    const bullmq = load('bullmq') as typeof BullMQ;
    const { Redis: Client } = load('ioredis') as typeof IORedis;
    const waits = { long: false };
    const redis = new Client({
      ...optionsFor(address),
      lazyConnect: true,
      maxRetriesPerRequest: attempts,
      commandTimeout,
      retryStrategy: (times) => (waits.long ? pauseBefore(times) : times > attempts ? null : 200 * times),
    });
    let last: Error | undefined;
    redis.on('error', (error) => (last = error));
    const engine = new Engine(bullmq, redis, address, Client, waits);
    const onAbort = () => redis.disconnect();
    signal?.addEventListener('abort', onAbort);
    try {
      await redis.connect().catch((error: Error) => Promise.reject(last ?? error));
      await engine.requireKept();
      return await use(engine);
    } catch (error) {
      signal?.throwIfAborted();
      throw engine.told(error);
    } finally {
      signal?.removeEventListener('abort', onAbort);
      await engine.close();
    }
  }

  /** What is wrong with Redis, as a VertexqError whose message has no secrets; other errors as they are. */
  told(error: unknown): unknown {
    if (error instanceof VertexqError || error instanceof TypeError || error instanceof RangeError)
      return error;
    return new VertexqError('ERR_VERTEXQ_QUEUE', `Redis at ${this.address.shown}: ${this.reason(error)}`);
  }

  /** The message of an error of Redis: not the error itself, which may carry what was sent, the password too. */
  reason(error: unknown): string {
    const { message = '', code, name } = error as NodeJS.ErrnoException;
    // Of several addresses of a host, each with its own error.
    const inner =
      error instanceof AggregateError ? error.errors.map((one) => (one as Error).message).join('; ') : '';
    // Of a transaction what was wrong is told of its commands.
    const { previousErrors } = error as { previousErrors?: Error[] };
    if (Array.isArray(previousErrors) && previousErrors[0]) return this.reason(previousErrors[0]);
    return withoutSecrets(message || inner || code || name || String(error), this.address);
  }

  queue(name: string): BullMQ.Queue {
    const own =
      this.queues.get(name) ?? new this.bullmq.Queue(name, { ...this.shared, skipMetasUpdate: true });
    if (!this.queues.has(name)) own.on('error', () => {}); // whoever asks it is told
    this.queues.set(name, own);
    return own;
  }

  get shared() {
    return { connection: this.redis, prefix, skipVersionCheck: true };
  }

  /** Options of BullMQ's workers. From here on a server that is away is waited for. */
  forWorkers(options: Omit<BullMQ.WorkerOptions, 'connection'>): BullMQ.WorkerOptions {
    this.waits.long = true;
    const connection = this.tracked(
      new this.client({
        ...optionsFor(this.address),
        retryStrategy: (times) => (this.isEnding ? null : pauseBefore(times)),
        maxRetriesPerRequest: null,
      }),
    );
    // BullMQ waits for jobs on a second one.
    const duplicate = connection.duplicate.bind(connection);
    connection.duplicate = (...override) => this.tracked(duplicate(...override));
    return { ...options, connection, prefix, skipVersionCheck: true };
  }

  /** Ends the connections of workers, whatever they are at: those that are about to be opened again where that fails. */
  endWorkers(): void {
    this.isEnding = true;
    for (const client of this.clients.splice(0)) client.disconnect();
  }

  private tracked(client: IORedis.Redis): IORedis.Redis {
    client.on('error', () => {}); // workers tell of it
    const disconnect = client.disconnect.bind(client);
    // While ioredis waits before it connects again, to disconnect would make it forget the commands that wait for that: BullMQ would wait for these for ever.
    client.disconnect = (reconnect) => {
      if (client.status === 'reconnecting' && reconnect !== true) client.once('connect', () => disconnect());
      else disconnect(reconnect);
    };
    this.clients.push(client);
    return client;
  }

  /** Throws ERR_VERTEXQ_QUEUE where Redis is too old, or throws away what it should keep. */
  private async requireKept(): Promise<void> {
    const told = await this.redis.info();
    const of = (key: string) => new RegExp(`^${key}:(.*?)\r?$`, 'm').exec(told)?.[1];
    const found = of('redis_version') ?? '';
    if (Number.parseInt(found, 10) < 6)
      throw new Error(`it is version ${JSON.stringify(found.slice(0, 20))}, and 6 or later is needed`);
    const policy = of('maxmemory_policy');
    if (policy !== undefined && policy !== 'noeviction')
      throw new Error(
        `its maxmemory-policy is ${JSON.stringify(policy.slice(0, 20))}: expected "noeviction", or it may throw away what waits`,
      );
  }

  private async close(): Promise<void> {
    for (const queue of this.queues.values()) await queue.close().catch(() => {}); // the connection is ended below
    this.redis.disconnect();
  }
}

/** Milliseconds before the next attempt to connect. */
const pauseBefore = (times: number) => Math.min(100 * 2 ** Math.min(times, 6), 5_000);

function optionsFor({ host, port, db, username, password, tls }: Address) {
  return {
    ...{ host, port, db, connectTimeout },
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    // Certificates are checked; NODE_EXTRA_CA_CERTS names others to trust.
    ...(tls && { tls: { servername: host } }),
  };
}
