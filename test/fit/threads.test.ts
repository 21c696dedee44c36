import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';

const linuxTest = existsSync('/proc/self/task') ? test : test.skip;

/** How many threads a process of its own has after each of these calls of the package `v`. */
function threadsAfter(calls: string[]): number[] {
  const script = `
    const v = require(${JSON.stringify(join(__dirname, '../../dist'))});
    const n = 300;
    const random = (count) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * i + 1));
    const layer = { weight: random(8 * n), outFeatures: 8, inFeatures: n };
    const activations = random(2000 * n);
    const gram = Float64Array.from({ length: n * n }, (_, i) => 0.9 ** Math.abs((i % n) - Math.floor(i / n)));
    (async () => {
      for (const call of [${calls.map((call) => `() => ${call}`).join(', ')}]) {
        await call();
        console.log(require('node:fs').readdirSync('/proc/self/task').length);
      }
    })();`;
  return execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }).trim().split('\n').map(Number);
}

linuxTest('calibration data is summed and looked at on as many threads as `threads` says', (t) => {
  const fit = (data: string, method: string, threads: number) =>
    `v.quantizeLayer({ ...layer, ${data} }, { method: '${method}', threads: ${threads} })`;
  for (const method of ['gpfq', 'msq'])
    for (const data of ['activations', 'gram']) {
      // The pool keeps the threads that it started; many jobs at once start all those that run jobs.
      const [one, still, three] = threadsAfter([
        'Promise.all(Array.from({ length: 64 }, () => v.quantizeLayer(layer, { threads: 1 })))',
        fit(data, method, 1),
        fit(data, method, 3),
      ]);
      t.is(still, one, `${method} ${data}`);
      t.true(three! > one!, `${method} ${data}`);
    }
});
