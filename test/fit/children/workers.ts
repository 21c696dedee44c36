// Jobs in workers: the addon is loaded in them first, their jobs are cut off, and they give the bytes the main thread gives.
import assert from 'node:assert';
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { typescript } from '../../typescript';
import { digest, sleep } from './layer';

function start(workerData: unknown): Worker {
  const file = join(__dirname, 'worker.ts');
  return new Worker(file, { workerData, execArgv: [typescript] });
}

async function answer(inFeatures: number, seed: number): Promise<string> {
  const worker = start({ inFeatures, seed });
  const exit = once(worker, 'exit');
  const [message] = (await once(worker, 'message')) as [string];
  assert.deepEqual(await exit, [0]);
  return message;
}

async function main(): Promise<void> {
  process.on('unhandledRejection', (reason) => {
    console.error(reason);
    process.exit(3);
  });
  // Alone in a worker that ends, and again: the addon comes and goes with the environment.
  const first = await answer(64, 1);
  assert.equal(await answer(64, 1), first);
  for (const delay of [0, 1, 20, 100]) {
    const worker = start('long');
    await once(worker, 'message');
    await sleep(delay);
    const started = performance.now();
    await worker.terminate();
    const took = performance.now() - started;
    assert(took < 3000, `terminate took ${took} ms`);
  }
  const both = await Promise.all([answer(128, 1), answer(128, 2)]);
  assert.deepEqual(both, [await digest(128, 1), await digest(128, 2)]);
  assert.equal(await digest(64, 1), first);
  console.log('done');
}

void main();
