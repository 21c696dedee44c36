import { join } from 'node:path';
import { type CheckpointOptions, quantizeCheckpoint } from '../../lib/index';
import { tensor, writeFolder } from './make';

/** Quantized checkpoints that readers in another language have read: golden.json has what they found. */
export const goldenCases: Record<string, CheckpointOptions> = {
  ...Object.fromEntries(
    ([2, 3, 4, 5, 6, 7, 8] as const).map((bits) => [
      `compressed-${bits}`,
      { bits, grid: 'asymmetric', groupSize: 32 },
    ]),
  ),
  'compressed-channel': { bits: 4, grid: 'asymmetric' },
  'compressed-symmetric': { bits: 4, grid: 'integer', groupSize: 16 },
  'compressed-mixed': {
    bits: 4,
    grid: 'asymmetric',
    groupSize: 32,
    overrides: [{ layers: '*k_proj*', bits: 8, groupSize: 'channel' }],
  },
  ...Object.fromEntries(
    ([2, 3, 4, 8] as const).flatMap((bits): [string, CheckpointOptions][] => [
      [`gptq-${bits}`, { format: 'gptq', bits, grid: 'integer', groupSize: 32 }],
      [`gptq_v2-${bits}`, { format: 'gptq_v2', bits, groupSize: 32 }],
    ]),
  ),
  'gptq-mixed': {
    format: 'gptq',
    grid: 'integer',
    groupSize: 32,
    overrides: [{ layers: '*k_proj*', bits: 8 }],
  },
};

/** Writes the cases' checkpoints into folders of their names. */
export async function writeGolden(folder: string): Promise<void> {
  const input = join(folder, 'input');
  writeFolder(input, [
    { 'q_proj.weight': tensor('F32', [64, 96], 11), 'k_proj.weight': tensor('BF16', [32, 64], 12) },
    { 'v_proj.weight': tensor('F16', [96, 32], 13), 'lm_head.weight': tensor('F16', [8, 32], 14) },
  ]);
  for (const [name, options] of Object.entries(goldenCases))
    await quantizeCheckpoint(input, join(folder, name), options);
}
