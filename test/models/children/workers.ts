// Models in workers: two at once, cut off, and the main thread goes on.
import assert from 'node:assert';
import { on, once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { typescript } from '../../typescript';
import { quantizeOnData } from './network';

const [input, output] = process.argv.slice(2) as [string, string];

function start(to: string): Worker {
  const file = join(__dirname, 'worker.ts');
  const workerData = { input, output: to };
  return new Worker(file, { workerData, execArgv: [typescript] });
}

async function finished(worker: Worker): Promise<void> {
  const exit = once(worker, 'exit');
  for await (const [message] of on(worker, 'message') as AsyncIterable<[unknown]>)
    if (message !== 'started') {
      assert.equal(message, 2);
      break;
    }
  assert.deepEqual(await exit, [0]);
}

async function main(): Promise<void> {
  await Promise.all([finished(start(output)), finished(start(`${output}.two`))]);
  assert.deepEqual(readFileSync(`${output}.two`), readFileSync(output));
  const bytes = readFileSync(output);
  for (const delay of [0, 20, 100]) {
    const cut = start(`${output}.cut`);
    await once(cut, 'message');
    await new Promise((resolve) => setTimeout(resolve, delay));
    await cut.terminate();
  }
  await quantizeOnData(input, `${output}.main`);
  assert.deepEqual(readFileSync(`${output}.main`), bytes);
  const left = readdirSync(dirname(output)).filter((name) => !/\.onnx(\.main|\.two)?$|\.vertexq$/.test(name));
  for (const name of left) assert.deepEqual(readFileSync(join(dirname(output), name)), bytes);
  console.log('done');
}

void main();
