import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { quantizeCheckpoint } from '../../../lib/index';

// runtime.ts exit|throw|terminate input output: ends while a checkpoint is quantized.
const [how = '', input = '', output = ''] = process.argv.slice(2);

if (how === 'terminate') {
  const worker = new Worker(join(__dirname, 'worker.cjs'), { argv: [input, output] });
  worker.on('error', (error) => console.log(error));
  const timer = setInterval(() => {
    if (existsSync(join(output, '.vertexq', 'journal'))) void worker.terminate();
  }, 1);
  worker.on('exit', () => {
    clearInterval(timer);
    console.log('terminated');
  });
} else {
  const onProgress = () => {
    if (how === 'exit') process.exit(7);
    setImmediate(() => {
      throw new Error('uncaught');
    });
  };
  void quantizeCheckpoint(input, output, { groupSize: 32, onProgress });
}
