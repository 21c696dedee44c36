// One run of quantizeCheckpoint, or quantizeModel, in a process of its own: prints its time and memory as JSON. run.ts input output options
import { openSync, readSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { binding } from '../../lib/native/binding';
import { quantizeCheckpoint, quantizeModel } from '../../lib/index';

const [input = '', output = '', options = '{}'] = process.argv.slice(2);

/**
 * The longest that the main thread has worked without a pause, seconds: its own time on a core between two turns of the event loop. Unlike their delay
 * it does not grow where other processes want the cores. 0 where the system does not tell.
 */
function watchWork(): () => number {
  let longest = 0;
  try {
    const file = openSync(`/proc/self/task/${process.pid}/schedstat`, 'r');
    const bytes = Buffer.alloc(64);
    const now = () => parseInt(bytes.toString('latin1', 0, readSync(file, bytes, 0, 64, 0)), 10) / 1e9;
    let before = now();
    const timer = setInterval(() => {
      const time = now();
      longest = Math.max(longest, time - before);
      before = time;
    }, 1).unref();
    return () => {
      clearInterval(timer);
      return longest;
    };
  } catch {
    return () => longest;
  }
}

async function main(): Promise<void> {
  binding(); // what loads OpenBLAS is not the run
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const rssBefore = process.memoryUsage.rss();
  delays.enable();
  const work = watchWork();
  const before = process.cpuUsage();
  const started = performance.now();
  let begun = false;
  const quantize = input.endsWith('.onnx') ? quantizeModel : quantizeCheckpoint;
  const { layers } = await quantize(input, output, {
    ...(JSON.parse(options) as object),
    onProgress: () => {
      if (!begun) console.error('begun');
      begun = true;
    },
  });
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(before);
  const cpu = (user + system) / 1e6;
  const { maxRSS } = process.resourceUsage();
  delays.disable();
  const busy = work();
  const fits = layers.map(({ name, seconds: own }) => ({ name, seconds: own }));
  console.log(
    JSON.stringify({ seconds, cpu, rss: maxRSS * 1024, rssBefore, delay: delays.max / 1e9, busy, fits }),
  );
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
