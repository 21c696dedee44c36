import { lstat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { plainPath } from '../../files/plain-path';
import { RunFiles } from '../../runs/run-files';
import { checkCheckpointOptions } from '../checkpoint-options';
import { runPlanOf } from '../plan-checkpoint';
import { withTarget } from '../target';
import type { CheckpointOptions } from '../types';
import { decidingOf } from './plan-file';
import type { PlanFile } from './types';
import { requireNotThere, requireUnits } from './with-plan';

/**
 * A plan of what `quantizeCheckpoint` would do, cut into units that processes on several machines do (`runShard`) and `finishRun` puts
 * together. Of a run that is fitted to text the units follow one another, and the option `parts` says how many workers each is for. Nothing is run and nothing is written. Rejects as `planCheckpoint`;
 * with ERR_VERTEXQ_UNSUPPORTED where the run is one piece of work; with ERR_VERTEXQ_EXISTS where the output is there.
 */
export async function planRun(
  input: string,
  output: string,
  options: CheckpointOptions = {},
): Promise<PlanFile> {
  return planRunWith(new RunFiles(), input, output, options);
}

/** `planRun` of a command that reads and writes other files too. */
export async function planRunWith(
  files: RunFiles,
  input: string,
  output: string,
  given: CheckpointOptions,
): Promise<PlanFile> {
  requireUnits(input, checkCheckpointOptions(given));
  return withTarget(
    files,
    input,
    output,
    await withAbsolutePaths(given),
    async (prepared, budget) => {
      await requireNotThere(prepared, prepared.output);
      const deciding = await decidingOf(prepared, resolve(plainPath(input)), resolve(prepared.output));
      return { ...deciding, summary: await runPlanOf(input, prepared, budget) };
    },
    true,
  );
}

/** Paths of data as other processes find them. */
async function withAbsolutePaths(given: CheckpointOptions): Promise<CheckpointOptions> {
  const { activations, imatrix, tokenizer, calibration, holdout } = given;
  const all = (paths: unknown) => [paths as string | string[]].flat().map((path) => resolve(path));
  return {
    ...given,
    ...(activations !== undefined && { activations: all(activations) }),
    ...(imatrix !== undefined && { imatrix: resolve(imatrix) }),
    ...(tokenizer !== undefined && { tokenizer: await fileIn(resolve(tokenizer)) }),
    ...(calibration !== undefined && { calibration: all(calibration) }),
    ...(holdout !== undefined && typeof holdout !== 'number' && { holdout: all(holdout) }),
  };
}

/** Where a folder has its tokenizer. */
const fileIn = async (path: string) =>
  (await lstat(path).catch(() => undefined))?.isDirectory() ? join(path, 'tokenizer.json') : path;
