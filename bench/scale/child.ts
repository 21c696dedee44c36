// Quantizes one model, and prints what it took as JSON. Run by case.ts.
import { readFileSync } from 'node:fs';
import { type Feeds, quantizeModel } from '../../lib';
import { mulberry32 } from '../../scripts/models/trainer/random';
import type { Job, JobResult } from './case';

function calibration({ samples, shape, batch }: Job): Feeds[] {
  const random = mulberry32(2);
  const size = shape.reduce((a, b) => a * b, 1);
  return Array.from({ length: Math.ceil(samples / batch) }, (_, i) => {
    const count = Math.min(batch, samples - i * batch);
    const data = new Float32Array(count * size);
    for (let k = 0; k < data.length; k++) data[k] = random() + random() + random() - 1.5;
    return { x: { data, dims: [count, ...shape] } };
  });
}

/** Linux counts this process alone; elsewhere the count may begin with what the one that started it had. */
function peakMemory(): number {
  try {
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
  } catch {
    return 1024 * process.resourceUsage().maxRSS;
  }
}

async function main(): Promise<void> {
  const job = JSON.parse(process.argv[2]!) as Job;
  const feeds = calibration(job);
  const before = process.cpuUsage();
  const { seconds, layers } = await quantizeModel(job.input, job.output, {
    ...job.options,
    calibration: feeds,
  });
  const fitSeconds = layers.reduce((sum, layer) => sum + layer.seconds, 0);
  const { user, system } = process.cpuUsage(before);
  const cpuSeconds = (user + system) / 1e6;
  const samples = layers.map((layer) => layer.samples);
  const result: JobResult = { seconds, fitSeconds, cpuSeconds, samples, peak: peakMemory() };
  console.log(JSON.stringify(result));
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
