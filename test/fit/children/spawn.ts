// Starts child processes during a job: a BLAS with threads of its own deadlocks at the fork.
import assert from 'node:assert';
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { preprocess } from '../../../lib/index';
import { layerOf } from './layer';

async function main(): Promise<void> {
  const stop = new AbortController();
  let running = true;
  const job = preprocess(layerOf(1024), { signal: stop.signal }).finally(() => (running = false));
  const settled = assert.rejects(job, { name: 'AbortError' });
  for (let i = 0; i < 20; i++) {
    await promisify(execFile)('true', { timeout: 10_000 });
    assert.equal(spawnSync('true', { timeout: 10_000 }).status, 0);
    if (i === 10) assert(running, 'the job ended before the spawns did');
  }
  stop.abort();
  await settled;
  console.log('done');
}

void main();
