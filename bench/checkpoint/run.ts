// One run of quantizeCheckpoint, or quantizeModel, in a process of its own: prints its time and memory as JSON. run.ts input output options
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { binding } from '../../lib/native/binding';
import { quantizeCheckpoint, quantizeModel } from '../../lib/index';

const [input = '', output = '', options = '{}'] = process.argv.slice(2);

async function main(): Promise<void> {
  binding(); // what loads OpenBLAS is not the run
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const rssBefore = process.memoryUsage.rss();
  delays.enable();
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
  const fits = layers.map(({ name, seconds: own }) => ({ name, seconds: own }));
  console.log(JSON.stringify({ seconds, cpu, rss: maxRSS * 1024, rssBefore, delay: delays.max / 1e9, fits }));
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
