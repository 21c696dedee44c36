// What is measured once: a process of its own quantizes a chain.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ModelOptions } from '../../lib';
import { type Chain, writeChain } from './models';

export interface Case extends Chain {
  /** Calibration rows, fed in batches. */
  rows: number;
  batch: number;
  options: Pick<ModelOptions, 'method' | 'scale' | 'bits' | 'groupSize' | 'effort' | 'format'>;
}

/** What the process has to do: a case whose model is there. */
export interface Job extends Pick<Case, 'width' | 'rows' | 'batch' | 'options'> {
  input: string;
  output: string;
}

/** What the process says of it. */
export interface JobResult {
  /** Of `quantizeModel`, and how much of that the fits of the layers took. */
  seconds: number;
  fitSeconds: number;
  /** The most memory that was resident in the process, in bytes: with Node, the addon, the runtime and the data. */
  peak: number;
}

export interface CaseResult extends Case, JobResult {
  /** All files of the model. */
  bytes: number;
}

/** Makes a case's model in a folder of its own below `place`, measures, and removes both the model and what came out. */
export async function measureCase(given: Case, place: string): Promise<CaseResult> {
  const folder = await mkdtemp(join(place, 'case-'));
  try {
    const { width, rows, batch, options } = given;
    const input = join(folder, 'in.onnx');
    const bytes = await writeChain(input, given);
    const result = await runJob({ input, output: join(folder, 'out.onnx'), width, rows, batch, options });
    return { ...given, bytes, ...result };
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
