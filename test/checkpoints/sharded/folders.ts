import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type CheckpointOptions, type PlanFile, planRun } from '../../../lib/index';
import { temporaryFolder } from '../../files/temporary-folder';
import { smallModel, writeFolder } from '../make';

/** All that is in a folder by names, or the bytes of a file. */
export const contents = (path: string): unknown =>
  statSync(path).isDirectory()
    ? Object.fromEntries(readdirSync(path).map((name) => [name, contents(join(path, name))]))
    : readFileSync(path).toString('hex');

/** A checkpoint, its plan as an object and as a file, and where the output goes. */
export interface Planned {
  folder: string;
  input: string;
  output: string;
  plan: PlanFile;
  file: string;
}

export async function plannedModel(
  t: ExecutionContext,
  options: CheckpointOptions = { groupSize: 32 },
): Promise<Planned> {
  const folder = temporaryFolder(t);
  const [input, output, file] = [join(folder, 'in'), join(folder, 'out'), join(folder, 'plan.json')];
  writeFolder(input, smallModel('BF16', 128));
  const plan = await planRun(input, output, options);
  writeFileSync(file, JSON.stringify(plan));
  return { folder, input, output, plan, file };
}
