import { basename } from 'node:path';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import { VertexqError } from '../errors';
import { compiling } from './compiling';

/** Starts a thread with the program `path`, without the ending of this file's own. Throws ERR_VERTEXQ_THREADS where the system allows none. */
export function startThread(path: string, options: WorkerOptions): Worker {
  try {
    return start(path, options);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code !== 'ERR_WORKER_INIT_FAILED') throw cause;
    throw new VertexqError(
      'ERR_VERTEXQ_THREADS',
      `no thread could be started for "${basename(path)}" (${message}): raise the limit of processes ("ulimit -u", a container's pids) or of memory ("ulimit -v")`,
      { cause },
    );
  }
}

function start(path: string, options: WorkerOptions): Worker {
  const extension = __filename.slice(-3);
  const file = `${path}${extension}`;
  return new Worker(file, extension === '.ts' ? { ...options, execArgv: [compiling] } : options);
}
