// What is measured once: a process of its own quantizes a network.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelOptions } from '../../lib';

/** What a network is given. */
interface Data {
  /** Of a sample of the input `x`. */
  shape: readonly number[];
  /** Calibration samples, fed in batches. */
  samples: number;
  batch: number;
  options: Pick<ModelOptions, 'method' | 'scale' | 'bits' | 'groupSize' | 'effort' | 'format' | 'holdout'>;
}

export interface Case extends Data {
  title: string;
  /** Makes the network, and returns the bytes of its files. */
  write: (file: string) => Promise<number>;
}

/** What the process has to do: a case whose model is there. */
export interface Job extends Data {
  input: string;
  output: string;
}

/** What the process says of it. */
export interface JobResult {
  /** Of `quantizeModel`, and how much of that the fits of the layers took. */
  seconds: number;
  fitSeconds: number;
  /** Of all cores, in the process. */
  cpuSeconds: number;
  /** Rows or patches that the layers were fitted to. */
  samples: number[];
  /** The most memory that was resident in the process, in bytes: with Node, the addon, the runtime and the data. */
  peak: number;
}

export interface CaseResult extends JobResult {
  title: string;
  /** All files of the model. */
  bytes: number;
}

/** Makes a case's model in a folder of its own below `place`, measures, and removes both the model and what came out. */
export async function measureCase(given: Case, place: string): Promise<CaseResult> {
  const folder = await mkdtemp(join(place, 'case-'));
  try {
    const { title, write, ...data } = given;
    const input = join(folder, 'in.onnx');
    const bytes = await write(input);
    return { title, bytes, ...(await runJob({ input, output: join(folder, 'out.onnx'), ...data })) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function runJob(job: Job): Promise<JobResult> {
  const child = spawn(process.execPath, ['--import=tsx', join(__dirname, 'child.ts'), JSON.stringify(job)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  return new Promise((resolve, reject) => {
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(JSON.parse(printed) as JobResult);
      else reject(new Error(`quantizing ${job.input} ended with ${code ?? signal}`));
    });
  });
}
