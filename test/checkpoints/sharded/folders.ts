import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { type CheckpointOptions, type PlanFile, planRun } from '../../../lib/index';
import { temporaryFolder } from '../../files/temporary-folder';
import { cases, weightsIn, writeModel } from '../../decoders/tiny';
import { writeSmall } from '../gguf/models';
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

/** Lines of tokens that look like none in particular. */
export function lines(count: number, length: number): string {
  let state = 1;
  const next = () => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) >>> 16;
  const line = () => JSON.stringify({ input_ids: Array.from({ length }, () => next() % 40) });
  return Array.from({ length: count }, line).join('\n');
}

/** Options of a fit to text that weighs rows and corrects errors. */
export const common = {
  ...{ bits: 3, groupSize: 16, method: 'gptq', weighting: 'outputs', errorCorrection: true },
  ...{ batchSize: 2, holdout: 0.25 },
} as const satisfies CheckpointOptions;

/** A language model, text for it as tokens, and folders for outputs. */
export function textModel(t: ExecutionContext, name = 'llama', tokens = lines(24, 14)) {
  const folder = temporaryFolder(t);
  const [input, calibration] = [join(folder, 'model'), join(folder, 'tokens.jsonl')];
  if (name === 'with a tokenizer') writeSmall(input, 'llama');
  else {
    mkdirSync(input);
    const golden = cases.find((one) => one.name === name)!;
    writeModel(input, golden.config, weightsIn(golden), 'BF16');
  }
  writeFileSync(calibration, tokens);
  return { folder, input, calibration, output: (of: string) => join(folder, of, 'out') };
}
