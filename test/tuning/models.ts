import type { ExecutionContext } from 'ava';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint } from '../../lib/index';
import { cases, weightsIn, writeModel } from '../decoders/tiny';
import { temporaryFolder } from '../files/temporary-folder';

/** Token ids as calibration data. */
export const ids = (count: number, length: number, seed = 7) => {
  const numbers = Array.from({ length: count * length }, (_, i) => BigInt((i * i * seed + 13 * i) % 40));
  return { input_ids: { data: BigInt64Array.from(numbers), dims: [count, length], type: 'int64' } };
};

/** A small random model, and the same in few bits. */
export async function models(t: ExecutionContext, name = 'llama', options: CheckpointOptions = {}) {
  const golden = cases.find((own) => own.name === name)!;
  const folder = temporaryFolder(t);
  const [float, quantized] = [join(folder, 'float'), join(folder, 'quantized')];
  mkdirSync(float);
  writeModel(float, golden.config, weightsIn(golden), 'F32');
  await quantizeCheckpoint(float, quantized, {
    ...{ method: 'msq', bits: 2, grid: 'asymmetric', groupSize: 4, ...options },
  });
  return { folder, float, quantized, output: join(folder, 'tuned') };
}
