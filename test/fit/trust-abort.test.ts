import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';

/**
 * In a process of its own, whose processor time is nobody else's: fits to a Gram matrix of 2,500 inputs are aborted after some
 * milliseconds. Prints what each came to, and the seconds of processor time from the abort until all threads were idle.
 */
const script = `
  const v = require(${JSON.stringify(join(__dirname, '../../dist'))});
  const [name, method] = process.argv.slice(1);
  const n = 2500;
  const near = (i, j) => 0.999 ** Math.abs(i - j);
  const grams = {
    'a Gram matrix': near,
    // Inputs in pairs of the same, and sums that are off as those of float32 products are.
    'one that float32 sums have bent': (i, j) => near(i & ~1, j & ~1) * (1 + 1e-7 * Math.sin(i * 7919 + j * 104729)),
    'one that is none': (i, j) => near(i, j) - 0.9,
  };
  const gram = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) gram[i * n + j] = gram[j * n + i] = grams[name](i, j);
  const weight = Float64Array.from({ length: 64 * n }, (_, i) => Math.sin(i * i + 1));
  const layer = { weight, outFeatures: 64, inFeatures: n, gram };
  const seconds = (from) => { const { user, system } = process.cpuUsage(from); return (user + system) / 1e6; };
  const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  (async () => {
    for (const delay of [250, 1500]) {
      const abort = new AbortController();
      const { signal } = abort;
      const run = method === 'preprocess' ? v.preprocess(layer, { signal }) : v.quantizeLayer(layer, { method, signal });
      const done = run.then(() => 'done', (error) => error.code === 'ERR_VERTEXQ_GRAM' ? error.code : error.name);
      await sleep(delay);
      const from = process.cpuUsage();
      abort.abort();
      const came = await done;
      for (let idle = false; !idle;) {
        const before = process.cpuUsage();
        await sleep(700);
        idle = seconds(before) < 0.02;
      }
      console.log(came, seconds(from));
    }
  })();`;

const everyMethod = ['preprocess', 'maly-saab', 'msq', 'vertex', 'gptq', 'gpfq'];

for (const [name, methods] of [
  ['a Gram matrix', everyMethod],
  // The others look at a matrix as these do.
  ['one that float32 sums have bent', ['maly-saab', 'vertex']],
  ['one that is none', ['maly-saab', 'vertex']],
] as const)
  for (const method of methods)
    test.serial(`trust 20: ${method} lets go of ${name} within a second of an abort`, async (t) => {
      const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, name, method]);
      const lines = stdout.trim().split('\n');
      t.is(lines.length, 2);
      for (const line of lines) {
        const [came, seconds] = line.split(' ');
        t.regex(came!, /^(AbortError|ERR_VERTEXQ_GRAM|done)$/);
        t.true(Number(seconds) < 1, line);
      }
    });
