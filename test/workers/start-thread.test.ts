import test from 'ava';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type workerThreads from 'node:worker_threads';
import { startThread } from '../../lib/workers/start-thread';

const threads = createRequire(__filename)('node:worker_threads') as typeof workerThreads;

test.serial(
  'trust 8: where the system allows no thread for the runtime it is told as for native ones',
  (t) => {
    const { Worker } = threads;
    t.teardown(() => (threads.Worker = Worker));
    let code = 'ERR_WORKER_INIT_FAILED';
    // What Node's own does at a limit of processes.
    threads.Worker = class {
      constructor() {
        throw Object.assign(new Error('EAGAIN'), { code });
      }
    } as unknown as typeof Worker;
    const start = () => startThread(join('lib', 'models', 'session-thread'), {});
    t.throws(start, {
      code: 'ERR_VERTEXQ_THREADS',
      message: /no thread could be started for "session-thread" \(EAGAIN\): raise the limit of processes/,
    });
    code = 'ERR_OTHER';
    t.throws(start, { code });
  },
);
