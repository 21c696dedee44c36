// One run of quantizeCheckpoint, or quantizeModel, in a process of its own: prints its time and memory as JSON. run.ts input output options
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { quantizeCheckpoint, quantizeModel } from '../../lib/index';

const [input = '', output = '', options = '{}'] = process.argv.slice(2);

async function main(): Promise<void> {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const rssBefore = process.memoryUsage.rss();
  delays.enable();
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
  const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
  const cpu = (userCPUTime + systemCPUTime) / 1e6;
  delays.disable();
  const fits = layers.map(({ name, seconds: own }) => ({ name, seconds: own }));
  console.log(JSON.stringify({ seconds, cpu, rss: maxRSS * 1024, rssBefore, delay: delays.max / 1e9, fits }));
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
