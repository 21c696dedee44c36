import { join } from 'node:path';
import { SHARE_ENV, type Worker } from 'node:worker_threads';
import { VertexqError } from '../errors';
import type { TensorLike } from '../types';
import { errorOf, type PlainError } from '../workers/protocol';
import { startThread } from '../workers/start-thread';
import { Turns } from '../yielding';
import { copyInTurns, roomFor } from './data/slices';
import { cannotFeed } from './runtime';
import type { Feeds } from './types';

/** What the thread is asked for: one of three things. */
export interface Asked {
  id: number;
  /** What messages call the network. */
  what: string;
  load?: Uint8Array<ArrayBuffer>;
  run?: { session: number; feeds: Feeds; outputs: string[]; carried: Readonly<Record<string, string>> };
  release?: number;
}

export type Told = { id: number } & ({ result: Feeds } | { error: PlainError });

interface Waiting {
  resolve: (result: Feeds) => void;
  reject: (error: unknown) => void;
}

/**
 * The thread that sessions run in, one for all: the runtime has its own threads for what it computes, and holds the one that calls it meanwhile.
 * It ends with the process, which it does not keep from ending.
 */
class SessionThread {
  private readonly waiting = new Map<number, Waiting>();
  private worker: Worker | undefined;
  private count = 0;

  ask(asked: Omit<Asked, 'id'>, transferred: ArrayBuffer[]): { id: number; result: Promise<Feeds> } {
    const id = ++this.count;
    const result = new Promise<Feeds>((resolve, reject) => {
      const worker = (this.worker ??= this.start());
      this.waiting.set(id, { resolve, reject });
      worker.ref();
      worker.postMessage({ ...asked, id } satisfies Asked, transferred);
    });
    return { id, result };
  }

  private start(): Worker {
    const worker = startThread(join(__dirname, 'session-thread'), { env: SHARE_ENV });
    worker.on('message', (told: Told) => {
      const { resolve, reject } = this.waiting.get(told.id)!;
      this.waiting.delete(told.id);
      if (this.waiting.size === 0) worker.unref();
      if ('error' in told) reject(errorOf(told.error));
      else resolve(told.result);
    });
    const end = (cause: unknown) => {
      if (this.worker === worker) this.worker = undefined;
      for (const { reject } of this.waiting.values())
        reject(
          new VertexqError(
            'ERR_VERTEXQ_WORKER',
            `The thread that runs networks has ended: ${String(cause)}`,
            { cause },
          ),
        );
      this.waiting.clear();
    };
    worker.on('error', end);
    worker.on('exit', end);
    return worker;
  }
}

const thread = new SessionThread();

/** A network that runs in a thread of its own: the event loop goes on meanwhile. */
export class ThreadedSession {
  private constructor(
    private readonly id: number,
    private readonly what: string,
  ) {}

  /** `network`: a model, which is taken away from the caller. Messages call it `what`. Rejects with ERR_VERTEXQ_RUNTIME where it does not load. */
  static async load(network: Uint8Array<ArrayBuffer>, what: string): Promise<ThreadedSession> {
    const { id, result } = thread.ask({ load: network, what }, [network.buffer]);
    await result;
    return new ThreadedSession(id, what);
  }

  /**
   * `carried`: by outputs that stay in the thread, the inputs that they are in the next run, unless that is given others. Rejects with ERR_VERTEXQ_RUNTIME;
   * ERR_VERTEXQ_MEMORY where the runtime gets none.
   */
  async run(feeds: Feeds, outputs: string[], carried: Readonly<Record<string, string>> = {}): Promise<Feeds> {
    const copied: [string, TensorLike][] = [];
    for (const [name, tensor] of Object.entries(feeds)) copied.push([name, await copyOf(name, tensor)]);
    const copies = Object.fromEntries(copied);
    const buffers = Object.values(copies).flatMap(({ data }) =>
      ArrayBuffer.isView(data) ? [data.buffer as ArrayBuffer] : [],
    );
    const run = { session: this.id, feeds: copies, outputs, carried };
    return thread.ask({ run, what: this.what }, buffers).result;
  }

  async release(): Promise<void> {
    await thread.ask({ release: this.id, what: this.what }, []).result;
  }
}

/** Of its own numbers alone: a view's buffer may hold much more. */
async function copyOf(name: string, { data, dims, type }: TensorLike): Promise<TensorLike> {
  const copy = { data, dims: [...dims], ...(type === undefined ? {} : { type }) };
  if (!ArrayBuffer.isView(data)) return copy;
  const given = data as Float32Array;
  try {
    const own = given.length <= atOnce ? given.slice() : (roomFor(given, given.length) as Float32Array);
    if (given.length > atOnce) await copyInTurns(given, own, 0, new Turns());
    return { ...copy, data: own };
  } catch (cause) {
    throw cannotFeed(name, cause);
  }
}

/** Numbers that are copied without a look at the clock. */
const atOnce = 2 ** 18;
