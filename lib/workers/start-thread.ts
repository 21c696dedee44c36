import { Worker, type WorkerOptions } from 'node:worker_threads';

/** Starts a thread with the program `path`, without the ending of this file's own. */
export function startThread(path: string, options: WorkerOptions): Worker {
  const extension = __filename.slice(-3);
  const file = `${path}${extension}`;
  if (extension !== '.ts') return new Worker(file, options);
  // A worker's own file does not go through tsx, what it requires does.
  const script = `require(${JSON.stringify(require.resolve('tsx/cjs'))}); require(${JSON.stringify(file)})`;
  return new Worker(script, { ...options, eval: true, execArgv: [] });
}
